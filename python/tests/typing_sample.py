"""Not run: what a type checker must understand, and what it must refuse."""

from datetime import timedelta

from cachier import CacheMetrics, cachier


@cachier(stale_after=timedelta(days=1))
def forecast(model: str, step: int = 0, *, scale: float = 1.0) -> list[float]:
    return [float(step) * scale]


class Shop:
    @cachier(allow_non_static_methods=True)
    def price(self, item: str) -> int:
        return len(item)

    @staticmethod
    @cachier()
    def static(x: int) -> str:
        return str(x)


def right() -> None:
    values: list[float] = forecast("gfs", 3, scale=2.0)
    values = forecast("gfs", max_age=timedelta(hours=1))
    values = forecast("gfs", cachier__skip_cache=True)
    values = forecast(
        "gfs",
        step=3,
        cachier__overwrite_cache=True,
        cachier__verbose=True,
        cachier__stale_after=timedelta(1),
    )
    values = forecast.precache_value("gfs", value_to_cache=values)
    nothing: None = forecast.clear_cache()  # type: ignore[func-returns-value]
    nothing = forecast.clear_being_calculated()  # type: ignore[func-returns-value]
    directory: str | None = forecast.cache_dpath()
    metrics: CacheMetrics | None = forecast.metrics
    price: int = Shop().price("tea")
    price = Shop.price(Shop(), "tea")
    price = Shop().price("tea", max_age=timedelta(1))
    text: str = Shop.static(3)
    del nothing, directory, metrics, price, text


def wrong() -> None:
    forecast(3)  # type: ignore[call-overload]
    forecast("gfs", unknown=3)  # type: ignore[call-overload]
    forecast.unknown  # type: ignore[attr-defined]  # noqa: B018
    text: str = forecast("gfs")  # type: ignore[assignment]
    Shop().price(3)  # type: ignore[call-overload]
    forecast("gfs", max_age=3)  # type: ignore[call-overload]
    cachier(stale_after=3)  # type: ignore[arg-type]
    del text
