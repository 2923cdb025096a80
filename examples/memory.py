"""The memory backend: the objects themselves, in this process, bounded if you like."""

from cachier import cachier


@cachier(backend="memory", max_entries=2)
def parsed(text: str) -> dict[str, int]:
    print(f"parsing {text}")
    return {word: len(word) for word in text.split()}


print(parsed("one three") is parsed("one three"))
parsed("two")
parsed("four")  # the least recently used one goes
print(parsed.is_cached("one three"), parsed.is_cached("four"))


@cachier(backend="memory", copy=True)
def fresh() -> list[int]:
    return [1]


fresh().append(2)  # a copy, for this caller
print(fresh())
