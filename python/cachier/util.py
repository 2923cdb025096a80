"""Small helpers that programs use too."""

from __future__ import annotations

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def parse_bytes(size: int | str | None) -> int | None:
    """Turn a size like ``"10MB"`` into a number of bytes.

    Parameters
    ----------
    size : int or str or None
        A number of bytes, or a text: a number, also with decimals, and one of ``B``,
        ``KB``, ``MB``, ``GB`` and ``TB`` (powers of 1024, in any case; none: bytes).

    Returns
    -------
    int or None
        The number of bytes; None and numbers as they are.

    Raises
    ------
    ValueError
        If the text is no size.

    """
    if size is None or isinstance(size, int):
        return size
    if isinstance(size, str):
        text = size.strip().upper()
        number = text.rstrip("KMGTB").rstrip()
        unit = _UNITS.get(text[len(number) :].strip())
        # Of what float() takes beside decimals ("1e5", "nan", "1_0") nothing is a size.
        if unit is not None and number.replace(".", "", 1).isdecimal():
            return int(float(number) * unit)
    raise ValueError(
        f"Invalid size value: {size!r}\n"
        "  fix: give a number of bytes, or a text like '512KB' or '1.5 GB'"
    )
