"""The whole pipeline beside one plain FastAPI process with the same model inside, beside Ray Serve's own defaults, and
beside other model servers where `make bench-peers` has put them.

Each is alternated with the plain process in one run, with everything else of this machine quiet; medians, and the ratio
of each pair of bursts. wrk, which asks, takes some of the two cores, the same from both sides.

    make bench              # everything, twenty-five minutes; three fewer for each peer that is not there
    python -m benchmarks.serving 'Forewarn, chained'      # one of them
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from rich.console import Console

from benchmarks import extremes, peers, report, servers
from benchmarks.bursts import Found, alternated
from benchmarks.extremes import Batches, Crowd, Mixed
from benchmarks.report import CACHED, CHAINED, DEFAULTS, SHIPPED
from benchmarks.servers import Server
from forewarn import usecases
from forewarn.tasks import Classification
from forewarn.usecase import UseCase

NO_CACHE = {"cache_seconds": 0}

Rivals = dict[str, Callable[[], AbstractContextManager[Server]]]


def rivals(case: UseCase) -> Rivals:
    """Name -> how it is started."""
    return {
        SHIPPED: partial(servers.forewarn, case, door=NO_CACHE),
        CHAINED: partial(servers.forewarn, case, door=NO_CACHE, composition="chained"),
        CACHED: partial(servers.forewarn, case),
        DEFAULTS: partial(servers.ray_defaults, case),
        **{name: partial(start, case) for name, start in peers.installed().items()},
    }


def harder(case: UseCase) -> tuple[Batches, Mixed, Crowd]:
    """Batches, a mix and a crowd."""
    with servers.forewarn(case, door=NO_CACHE) as server:
        batches, mixed = extremes.batches(server, case), extremes.mixed(server, case)
    with servers.forewarn(case, **extremes.SLOWLY) as server:
        return batches, mixed, extremes.crowd(server)


def main() -> None:
    """A table for each rival of the plain process, then the ratios."""
    case = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    wanted, out, found = sys.argv[1:], Console(width=160), dict[str, Found]()
    with out.status("starting") as status:
        for name, rival in rivals(case).items():
            if not wanted or name in wanted:
                with servers.plain(case) as plain, rival() as server:
                    found[name] = alternated(name, plain, server, status.update)
                out.print(report.table(found[name]))
        if wanted:
            return
        status.update("batches, a mix, a crowd")
        batches, mixed, crowd = harder(case)
    out.print(report.extremes(batches, mixed, crowd))
    report.draw(list(found.values()))
    out.print(f"picture: {report.PICTURE}")
    out.print(report.verdicts(CHAINED, report.bars(found, CHAINED)))
    shipped = [*report.bars(found, SHIPPED), *report.further_bars(found[CACHED], batches)]
    out.print(report.verdicts(SHIPPED, shipped))


if __name__ == "__main__":
    main()
