"""Whether the docstrings of what programs use are what numpydoc makes pages of.

    check_docstrings.py

Prints what is wrong, one line each, and ends with 1 if there is anything. Ruff looks at
the form of all docstrings; this one compares them with what they are of: parameters
that are missing, unknown or in another order, results and exceptions left out.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

MODULES = (
    "cachier",
    "cachier.config",
    "cachier.core",
    "cachier.exporters",
    "cachier.metrics",
    "cachier.util",
)

#: What is not asked for, each for a reason.
LEFT_OUT = {
    "GL01": "the first line begins beside the quotes, as PEP 257 has it",
    "GL02": "a closing line of its own is ruff's to ask for",
    "GL03": "so are blank lines",
    "GL08": "so is that there is one at all",
    "ES01": "one line may say all",
    "SA01": "pages are found by their folder",
    "EX01": "examples are run as files",
    "PR07": "parameters of a name that says all",
    "PR09": "no full stop after a fragment",
    "PR08": "a fragment begins small",
    "RT03": "a result of a type that says all",
    "RT04": "a fragment begins small",
    "RT05": "no full stop after a fragment",
    "YD01": "a generator that is a context manager or a fixture yields for others",
}


def public() -> Iterator[str]:
    """Give the names of what programs use."""
    seen = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()) or vars(module):
            one = getattr(module, name, None)
            of = getattr(one, "__module__", "") or ""
            if name.startswith("_") or not of.startswith("cachier") or id(one) in seen:
                continue
            if not (inspect.isclass(one) or inspect.isroutine(one)):
                continue
            seen.add(id(one))
            yield f"{module_name}.{name}"
            if inspect.isclass(one):
                for attribute, value in vars(one).items():
                    if attribute.startswith("_") or not inspect.isroutine(value):
                        continue
                    yield f"{module_name}.{name}.{attribute}"


def main() -> int:
    """Check them all."""
    names = list(public())
    wrong = 0
    for name in names:
        for code, message in validate(name)["errors"]:
            if code not in LEFT_OUT:
                print(f"{name}: {code} {message}")
                wrong += 1
    if len(names) < 30:
        print(f"only {len(names)} names were found")
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
