"""Every use case of this installation, by name. A file in this folder that defines USE_CASE is one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from forewarn.errors import NotFound
from forewarn.usecase import UseCase


@cache
def every() -> dict[str, UseCase]:
    """All use cases, sorted by name."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    return {case.name: case for case in sorted((m.USE_CASE for m in modules), key=lambda case: case.name)}


def get(name: str) -> UseCase:
    """The use case of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    try:
        return every()[name]
    except KeyError:
        raise NotFound(f"there is no use case {name!r}; there is {', '.join(every())}") from None
