"""Not run: what a type checker must understand, and what it must refuse."""

import asyncio
from datetime import timedelta

from cachier import CacheMetrics, cachier, caching_disabled


@cachier(stale_after=timedelta(days=1))
def forecast(model: str, step: int = 0, *, scale: float = 1.0) -> list[float]:
    return [float(step) * scale]


@cachier(
    ignore=("verbose",),
    cache_exceptions=(OSError,),
    on_code_change="recompute",
    copy=True,
)
def fetch(url: str, verbose: bool = False) -> bytes:
    return url.encode()


@cachier(next_time=True)
async def download(url: str, *, tries: int = 3) -> bytes:
    return url.encode() * tries


class Shop:
    @cachier(allow_non_static_methods=True)
    async def stock(self, item: str) -> int:
        return len(item)

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
    nothing: None = forecast.clear_cache()
    nothing = forecast.clear_being_calculated()
    directory: str | None = forecast.cache_dpath()
    metrics: CacheMetrics | None = forecast.metrics
    price: int = Shop().price("tea")
    price = Shop.price(Shop(), "tea")
    price = Shop().price("tea", max_age=timedelta(1))
    text: str = Shop.static(3)
    key: str = forecast.key("gfs", step=3)
    there: bool = forecast.is_cached("gfs")
    there = forecast.is_cached("gfs", max_age=timedelta(1))
    there = Shop().price.is_cached("tea")
    there = forecast.invalidate("gfs")
    peeked: list[float] | None = forecast.peek("gfs")
    text = forecast.explain("gfs", max_age=timedelta(1))
    with caching_disabled():
        data: bytes = fetch("there")
    del key, there, peeked, data
    del nothing, directory, metrics, price, text


async def right_of_coroutines() -> None:
    page: bytes = await download("x", tries=1)
    page = await download("x", cachier__skip_cache=True)
    pages: tuple[bytes, bytes] = await asyncio.gather(download("x"), download("y"))
    task: asyncio.Task[bytes] = asyncio.create_task(download("x"))
    page = download.precache_value("x", value_to_cache=page)
    stock: int = await Shop().stock("tea")
    download.clear_cache()
    await download.clear_cache()
    await download.clear_being_calculated()
    await download.aclear_cache()
    await forecast.aclear_being_calculated()
    del page, pages, task, stock


async def wrong_of_coroutines() -> None:
    page: bytes = download("x")  # type: ignore[assignment]
    await download(3)  # type: ignore[call-overload]
    text: str = await download("x")  # type: ignore[assignment]
    await forecast.clear_cache()  # type: ignore[misc]
    del page, text


def wrong() -> None:
    forecast(3)  # type: ignore[call-overload]
    forecast("gfs", unknown=3)  # type: ignore[call-overload]
    forecast.unknown  # type: ignore[attr-defined]  # noqa: B018
    text: str = forecast("gfs")  # type: ignore[assignment]
    Shop().price(3)  # type: ignore[call-overload]
    forecast("gfs", max_age=3)  # type: ignore[call-overload]
    forecast.key(3)  # type: ignore[arg-type]
    forecast.is_cached(3)  # type: ignore[call-overload]
    forecast.invalidate(unknown=3)  # type: ignore[call-arg]
    Shop().price.peek(3)  # type: ignore[call-overload]
    cachier(on_code_change="forget")  # type: ignore[arg-type]
    cachier(ignore=3)  # type: ignore[arg-type]
    cachier(stale_after=3)  # type: ignore[arg-type]
    del text
