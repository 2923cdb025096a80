"""A function is computed once; every later call, and every later run, finds it."""

from cachier import cachier


@cachier()
def squares(count: int) -> list[int]:
    print("computing")
    return [n * n for n in range(count)]


print(squares(4))
print(squares(count=4))  # the same call, spelled otherwise
