"""How old a result may be: for a function, for one call, and without waiting."""

from datetime import timedelta

from cachier import cachier

runs = 0


@cachier(stale_after=timedelta(days=1))
def rate(currency: str) -> int:
    global runs
    runs += 1
    return runs


rate.clear_cache()
print(rate("EUR"), rate("EUR"))  # the second is from the store
print(rate("EUR", max_age=timedelta(0)))  # this call wants a new one
print(rate("EUR", cachier__skip_cache=True))  # this one neither reads nor writes
print(rate("EUR"))


@cachier(stale_after=timedelta(0), next_time=True)
def news() -> int:
    return 1


news()
print(news())  # too old: handed out at once, and computed anew in the background
