"""Methods: of the instance, where results do not depend on it, or depend on its key."""

from cachier import cachier


class Station:
    def __init__(self, name: str) -> None:
        self.name = name

    @cachier(allow_non_static_methods=True)
    def climate(self, month: int) -> str:
        """Give what is the same for all instances: self is not part of the key."""
        print("computing the climate")
        return f"month {month}"

    @staticmethod
    @cachier()
    def _forecast(name: str, day: int) -> str:
        print(f"computing for {name}")
        return f"{name}, day {day}"

    def forecast(self, day: int) -> str:
        """Give what depends on the instance: what it depends on is an argument."""
        return self._forecast(self.name, day)


oslo, bergen = Station("Oslo"), Station("Bergen")
print(oslo.climate(7))
print(bergen.climate(7))
print(oslo.forecast(1))
print(bergen.forecast(1))
