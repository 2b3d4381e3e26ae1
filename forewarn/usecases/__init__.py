"""Every use case of this installation, by name. A file in this folder that defines USE_CASE is one.

So is one in the folder that FOREWARN_USE_CASES names: it is imported as if it lay here. A use case's other profiles
(`otherwise`) are use cases of their own.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from forewarn.errors import CannotStart, NotFound
from forewarn.settings import Settings
from forewarn.usecase import UseCase


@cache
def every() -> dict[str, UseCase]:
    """All use cases, sorted by name.

    Raises:
        CannotStart: two files declare the same name, or a file declares none.
    """
    found: dict[str, UseCase] = {}
    for case in sorted(_declared(), key=lambda case: case.name):
        if case.name in found:
            raise CannotStart(f"two files declare the use case {case.name}; rename one of them")
        found[case.name] = case
    return found


def get(name: str) -> UseCase:
    """The use case of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    try:
        return every()[name]
    except KeyError:
        raise NotFound(f"there is no use case {name!r}; there is {', '.join(every())}") from None


def _declared() -> Iterator[UseCase]:
    further = Settings().use_cases
    if further and str(further) not in __path__:
        __path__.append(str(further))
    for found in iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        case: UseCase | None = getattr(module, "USE_CASE", None)
        if case is None:
            raise CannotStart(f"{module.__file__} declares no USE_CASE; see docs/add-a-use-case.md")
        while case is not None:
            yield case
            case = case.otherwise
