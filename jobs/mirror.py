"""Tells MLflow's aliases what the history of releases says: once, for every use case.

In a process of its own, because serving and the judge know nothing of MLflow, which takes seconds to import.
"""

import logging
import os

from forewarn import usecases
from forewarn.releases import Releases
from forewarn.settings import Settings


def mirror(settings: Settings) -> None:
    """Nothing to do where there is no registry."""
    if not settings.has_registry:
        return
    from forewarn import approval
    from forewarn.registry import Registry

    releases, registry = Releases(settings.packages), Registry(settings)
    for case in usecases.every().values():
        state = releases.state(case)
        if state.champion:
            approval.mirror(case, registry, state)


if __name__ == "__main__":
    os.nice(19)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    mirror(Settings())
