"""The packages that may serve, and beside them which of them does."""

import hashlib
import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from forewarn import locks, package
from forewarn import state as state_file
from forewarn.errors import NotFound, VersionTaken
from forewarn.features import Features
from forewarn.package import ModelPackage
from forewarn.releases.roles import ReleaseState
from forewarn.usecase import UseCase

STATE = "release.json"


class Releases:
    """The package store: packages/<use_case>/<version>/ and, beside them, which of them answers whom.

    Serving reads only this folder: no registry and no database has to be up. The ledger keeps the history, and whoever
    changes a state there puts it up here.
    """

    def __init__(self, store: Path):
        self._store = store

    def admit(self, case: UseCase, version: str, source: Path) -> Path:
        """Copy a verified package into the store. Doing it again changes nothing.

        Raises:
            PackageDamaged: the source does not verify; nothing is copied.
            VersionTaken: another package of that name is there, because the registry began anew.
        """
        package.verify(source)
        target = self._store / case.name / version
        if target.exists() and package.manifest(target) != package.manifest(source):
            raise VersionTaken(
                f"{case.name} {version} is in the package store already, with other content: the registry counts anew; "
                f"restore its database, or move {self._store / case.name} aside"
            )
        if not target.exists():
            aside = target.with_name(f".{version}.{os.getpid()}")
            shutil.copytree(source, aside)
            package.verify(aside)
            aside.rename(target)
        return target

    def state(self, case: UseCase) -> ReleaseState:
        """Which version answers whom now, as the ledger's history was told here last.

        Raises:
            StateDamaged: the file cannot be read.
        """
        return ReleaseState.of(state_file.read_json(self._store / case.name / STATE))

    def put_up(self, case: UseCase, new: ReleaseState) -> None:
        """Let every replica know, by one rename. What is older than what stands there is left alone.

        Raises:
            NotFound: a version is not in the store.
        """
        for version in new.versions:
            self.folder(case, version)
        if new.number >= self.state(case).number:
            state_file.write_json(self._store / case.name / STATE, new.told())

    def champion(self, case: UseCase) -> str | None:
        """The version that answers now; None before the first one."""
        return self.state(case).champion

    def changing(self, case: UseCase) -> AbstractContextManager[None]:
        """To be held by whoever changes the state and tells it here."""
        folder = self._store / case.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return locks.held(folder / "release.lock")

    def expel(self, case: UseCase, version: str) -> None:
        """Take an admitted version out, so that it cannot serve. It is no error if it is not there."""
        shutil.rmtree(self._store / case.name / version, ignore_errors=True)

    def folder(self, case: UseCase, version: str) -> Path:
        """Where an admitted version lies.

        Raises:
            NotFound: naming the versions there are.
        """
        folder = self._store / case.name / version
        if not (folder / package.MANIFEST).is_file():
            there = ", ".join(self.versions(case)) or "none yet"
            raise NotFound(f"{case.name}: version {version} is not in the package store; there is {there}")
        return folder

    def versions(self, case: UseCase) -> list[str]:
        """Admitted versions, oldest first."""
        found = (path.parent.name for path in self._store.glob(f"{case.name}/*/{package.MANIFEST}"))
        return sorted((name for name in found if not name.startswith(".")), key=_number)

    def card(self, case: UseCase, version: str) -> dict[str, Any]:
        """An admitted version's metadata: metrics, algorithm, times.

        Raises:
            NotFound: the version is not in the store.
        """
        return package.metadata(self.folder(case, version))

    def digest(self, case: UseCase, version: str) -> str:
        """16 hex digits of an admitted version's content: versions of two registries may have one name.

        Raises:
            NotFound, PackageDamaged.
        """
        content = json.dumps(package.manifest(self.folder(case, version)), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def verify(self, case: UseCase, version: str) -> None:
        """Every byte of an admitted version.

        Raises:
            NotFound, PackageDamaged.
        """
        package.verify(self.folder(case, version))

    def load(self, case: UseCase, version: str) -> ModelPackage:
        """An admitted version, verified and ready to score.

        Raises:
            NotFound, PackageDamaged.
        """
        return ModelPackage.load(case, self.folder(case, version), version=version)

    def features(self, case: UseCase, version: str) -> Features:
        """An admitted version's features alone, verified.

        Raises:
            NotFound, PackageDamaged.
        """
        return package.features(case, self.folder(case, version))


def _number(version: str) -> tuple[int, str]:
    digits = version.lstrip("v")
    return (int(digits) if digits.isdigit() else 0, version)
