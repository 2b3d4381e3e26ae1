"""Whichever version a job is about, opened."""

from forewarn.errors import NotFound
from forewarn.package import ModelPackage
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase


def open_version(case: UseCase, version: str | None, settings: Settings) -> ModelPackage:
    """A version from the package store, or from the registry if it never got into the store.

    Unless one is named: the champion, or before there is one the newest, whatever it waits for.

    Raises:
        NotFound: no such version, or none at all.
    """
    releases = Releases(settings.packages)
    wanted = version or releases.champion(case)
    if wanted and (wanted := f"v{wanted.removeprefix('v')}") in releases.versions(case):
        return releases.load(case, wanted)
    from forewarn.registry import Registry  # MLflow takes seconds to import

    wanted = wanted or next(reversed(Registry(settings).versions(case)), None)
    if wanted is None:
        raise NotFound(f"{case.name} has no version yet; train one with `forewarn train {case.name}`")
    return ModelPackage.load(case, Registry(settings).fetch(case, wanted), version=wanted)
