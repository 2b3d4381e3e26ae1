"""The whole story on one machine, in minutes: serve, collect what came true, see the world change, train anew, release,
throw a bad version out, forget somebody. Everything is real, and told as it happens; only time is faster: a week of
traffic lasts some seconds.

    forewarn demo            (make demo)
    forewarn demo --short    one use case, shorter weeks
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import httpx
import orjson
import typer
import yaml

from forewarn import usecases
from forewarn.errors import ForewarnError
from forewarn.ledger import doors
from forewarn.releases import Releases
from forewarn.settings import PROJECT, Settings
from jobs import machine, terminal
from jobs.deploy import CONFIG
from jobs.narrator import Narrator
from jobs.world import World, bad_version, fields_of, good, wait

FOREWARN = [sys.executable, "-c", "from jobs.cli import main; main()"]
# In standard deviations.
BY = 1.2
DAY = 24 * 3600
UP_SECONDS, PATIENCE_SECONDS = 240.0, 90.0
WHY = "asked for by the demonstration"


class Demo:
    """One run of the story."""

    def __init__(self, home: Path, *, short: bool):
        port, dashboard = machine.free_ports(2)
        self.settings = Settings(home=home, port=port, dashboard_port=dashboard)
        self.plan = yaml.safe_load(CONFIG.read_text())
        args = self.plan["applications"][0]["args"]
        self.case = usecases.get(args["default_use_case"])
        others = {profile.name for name in args["use_cases"] for profile in usecases.get(name).profiles[1:]}
        self.cases = [self.case.name] if short else [name for name in args["use_cases"] if name not in others]
        self.week_s, self.people = (6.0, 400) if short else (10.0, 400)
        self.narrator = Narrator("Forewarn, from the first prediction to being forgotten")
        self.reports = home / "reports"
        self.moved = self.gap = self.version = ""

    def tell(self) -> Path:
        """Every chapter; the page of it."""
        with ExitStack() as stack:
            with self.narrator.chapter(f"Trained, approved and served: {', '.join(self.cases)}"):
                world = stack.enter_context(self._served())
            for title, act in (
                ("Weeks go by; what came true comes back late", self._weeks),
                ("The world changes, and an alarm names the field", self._drift),
                ("The alarm asks for a new model: trained, proved, gated", self._retrained),
                ("A person approves it; a tenth of the people hear it first", self._canary),
                ("It is promoted", self._promoted),
                ("A bad version is let in, and loses its traffic by itself", self._bad),
                ("Somebody asks to be forgotten", self._erased),
                ("What an auditor can check", self._audited),
            ):
                with self.narrator.chapter(title):
                    act(world)
            return self.narrator.write(self.reports)

    @contextmanager
    def _served(self) -> Iterator[World]:
        self.plan["applications"][0]["args"] |= {"use_cases": self.cases, "door": {"quota_per_minute": 0}}
        self.settings.make_home()
        config, log = self.settings.home / "serve_config.yaml", self.settings.home / "up.log"
        config.write_text(yaml.safe_dump(self.plan))
        words = ["up", "--config", str(config), "--trials", "8", "--budget-s", "8"]
        with (
            log.open("wb") as file,
            subprocess.Popen(  # noqa: S603
                [*FOREWARN, *words],
                stdout=file,
                stderr=file,
                env=self._environment(),
                cwd=PROJECT,
                start_new_session=True,
            ) as process,
        ):
            try:
                wait(lambda: self._is_up(process, log), UP_SECONDS, f"it did not come up; read {log}")
                url = f"http://127.0.0.1:{self.settings.port}"
                key = doors.installation_key(self.settings)
                with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client:
                    self._introduce(client)
                    yield World(client=client, people=self.people, week_s=self.week_s)
            finally:
                process.terminate()
                process.wait(timeout=90)

    def _is_up(self, process: subprocess.Popen[bytes], log: Path) -> bool:
        if process.poll() is not None:
            raise ForewarnError(f"`forewarn up` ended with {process.returncode}; read {log}")
        return "Ctrl-C stops it" in log.read_text()

    def _introduce(self, client: httpx.Client) -> None:
        wait(lambda: client.get("/ready").status_code == 200, PATIENCE_SECONDS, "no model is ready")
        for name in self.cases:
            case = usecases.get(name)
            proved = Releases(self.settings.packages).card(case, "v1")["metrics"][case.task.metric]
            figure = f"{case.task.metric} {proved['mean']:.3f} ± {proved['sd']:.3f}"
            self.narrator.say(f"{name}: v1 answers; {figure} on rows that it had not seen.")
        self.moved, self.gap = fields_of(self.case, self.settings)

    def _weeks(self, world: World) -> None:
        for _ in range(2 if len(self.cases) == 1 else 3):
            world.week(self.cases)
        self.narrator.say(
            f"{world.weeks} weeks: {world.asked:,} people were asked about, of {world.known:,} it is known by now what "
            "came true. Each answer was written down before it went out, under a pseudonym."
        )
        told = self._drift_report()
        self.narrator.say(f"Drift: {told['level']}; no alarm in {len(told['fields'])} tests on {told['rows']:,} rows.")

    def _drift(self, world: World) -> None:
        self.narrator.say(f"From now on {self.moved} is {BY:g} standard deviations higher, for everybody.")
        for _ in range(2):
            world.week(self.cases, {self.case.name: {self.moved: BY}})
        told = self._drift_report()
        by_field = {one["field"]: one for one in told["fields"]}
        for name in told["alarms"]:
            one = by_field[name]
            self.narrator.say(
                f"Alarm: {name}, PSI {one['psi']:.2f} where chance reaches {one['floor']:.2f}, "
                f"{one['importance']:.0%} of what moves the score", loud=True,
            )  # fmt: skip
        if self.moved not in told["alarms"]:
            raise ForewarnError(f"the alarm did not name {self.moved} but {told['alarms']}")
        self.narrator.show(Path(told["files"][0]))
        how = self._command("evaluate", self.case.name, "--from-ledger", "--days", "1", "--output", str(self.reports),
                            allowed=(0, 3))  # fmt: skip
        standing = how["versions"][0]["standing"]
        self.narrator.say(f"By outcomes the version is {standing['level']}: {'; '.join(standing['reasons'])}.")

    def _retrained(self, _: World) -> None:
        made = self._command(
            "retrain", self.case.name, "--if-needed", "--trials", "8", "--budget-s", "30", allowed=(0, 3)
        )
        if "version" not in made:
            raise ForewarnError(f"nothing was trained: {made['why']}")
        metric = self.case.task.metric
        proved = made["metrics"][metric]
        self.narrator.say(f"Because of {made['cause']}: {made['why']}")
        self.narrator.say(
            f"{made['version']} learned from {made['rows']:,} rows: {metric} {proved['mean']:.3f} ± {proved['sd']:.3f} "
            f"over fresh folds, {made['trials']} trials; it is {made['status'].replace('_', ' ')}.", loud=True,
        )  # fmt: skip
        self.version = made["version"]

    def _canary(self, world: World) -> None:
        self._command("release", "approve", self.case.name, self.version, "--why", WHY)
        self._step(world, "start", version=self.version, share=10)
        share = self._heard(world, self.version)
        self.narrator.say(f"{self.version} answers {share:.1%} of the people now, always the same ones.", loud=True)

    def _promoted(self, world: World) -> None:
        self._step(world, "promote")
        wait(lambda: self._heard(world, self.version) == 1.0, PATIENCE_SECONDS, f"{self.version} does not answer all")
        self.narrator.say(f"{self.version} answers everybody, {self._previous(world)} is kept warm. No request failed.")

    def _bad(self, world: World) -> None:
        version = bad_version(self.case, self.settings, self.gap)
        self._command("release", "approve", self.case.name, version, "--why", WHY)
        began = time.monotonic()
        self._step(world, "start", version=version, share=50)

        def gone() -> bool:
            self._heard(world, version, without=self.gap)
            return version not in good(world.client.get(f"/v1/{self.case.name}/releases"))["state"].values()

        wait(gone, PATIENCE_SECONDS, f"{version} was not rolled back")
        line = good(world.client.get(f"/v1/{self.case.name}/releases"))["history"][0]
        self.narrator.say(
            f"{version} chokes on rows without {self.gap}. The champion answered in its place, and after "
            f"{time.monotonic() - began:.0f} s the judge took it back: {line['why']}.", loud=True,
        )  # fmt: skip
        files = self._command("release", "report", self.case.name, "--output", str(self.reports))["files"]
        self.narrator.show(Path(files[0]))

    def _erased(self, world: World) -> None:
        row = self.case.sample(1, seed=100)[0]
        good(world.client.post(f"/v1/{self.case.name}/predict", json=row))
        somebody = str(row[self.case.spec[self.case.key].wire])
        before = self._exported(somebody)
        receipt = self._command("subject", "erase", somebody)
        self.narrator.say(f"Of {somebody} the ledger held {before} lines; they were emptied, and a receipt was signed.")
        self.narrator.say(f"Afterwards an export finds {self._exported(somebody)}.", loud=True)
        self.narrator.say(f"Receipt {receipt['id']}, signed {str(receipt.get('signature', ''))[:16]}…")

    def _audited(self, world: World) -> None:
        held = good(world.client.get("/v1/audit/verify"))
        broken = held["broken"] or "none"
        self.narrator.say(f"{held['lines']} privileged acts are chained by their hashes; broken: {broken}.")
        for line in good(world.client.get(f"/v1/{self.case.name}/releases", params={"limit": 8}))["history"][::-1]:
            if line["act"] != "verdict":
                said = f"{line['act']} {line['to_version']} by {line['actor']}: {line['why'][:120]}"
                self.narrator.say(f"{line['at'][:19]} {said}")
        self.narrator.say(f"{world.asked:,} people were asked about in all.")

    def _exported(self, subject: str) -> int:
        told = self._command("subject", "export", subject)
        return sum(len(lines) for lines in _lists(told))

    def _step(self, world: World, act: str, **more: Any) -> None:
        body = {"act": act, "why": WHY, **more}
        told = good(world.client.post(f"/v1/{self.case.name}/releases", json=body))
        wanted = told["state"]

        def settled() -> bool:
            now = good(world.client.get(f"/v1/{self.case.name}/releases"))["answering"]
            return all(now.get(role) == wanted[role] for role in ("champion", "challenger") if wanted[role])

        wait(settled, PATIENCE_SECONDS, f"{act} was not followed")

    def _previous(self, world: World) -> str:
        return str(good(world.client.get(f"/v1/{self.case.name}/releases"))["state"]["previous"])

    def _heard(self, world: World, version: str, *, without: str = "") -> float:
        """Which share of the people a version answers."""
        case = self.case
        rows = case.sample(800, seed=5, drift={self.moved: BY})
        for place, row in enumerate(rows):
            row.pop(case.target)
            if without and place % 2:
                row.pop(without)
        told = good(world.client.post(f"/v1/{self.case.name}/batch", json=rows))
        if told["errors"]:
            raise ForewarnError(f"{len(told['errors'])} rows were not answered: {told['errors'][0]}")
        world.asked += len(rows)
        mine = [one for one in told["predictions"] if one["model_version"] == version]
        return len(mine) / len(rows)

    def _drift_report(self, allowed: tuple[int, ...] = (0, 3)) -> dict[str, Any]:
        days = str(2 * self.week_s / DAY)
        return self._command("drift", self.case.name, "--days", days, "--output", str(self.reports), allowed=allowed)

    def _command(self, *words: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """What a command of `forewarn` prints at its end."""
        asked = [*FOREWARN, *words]
        ran = subprocess.run(asked, env=self._environment(), cwd=PROJECT, capture_output=True, text=True)  # noqa: S603
        if ran.returncode not in allowed:
            said = ran.stderr.strip()[-500:]
            raise ForewarnError(f"`forewarn {' '.join(words)}` ended with {ran.returncode}: {said}")
        said = ran.stdout.strip()
        last = said if said.startswith("{") else (said.splitlines() or [""])[-1]
        found: dict[str, Any] = orjson.loads(last) if last.startswith("{") else {}
        return found

    def _environment(self) -> dict[str, str]:
        told = {"FOREWARN_HOME": str(self.settings.home), "FOREWARN_PORT": str(self.settings.port),
                "FOREWARN_DASHBOARD_PORT": str(self.settings.dashboard_port), "FOREWARN_USER": "demo"}  # fmt: skip
        return {**os.environ, **told}


def demo(
    short: Annotated[bool, typer.Option("--short", help="One use case, shorter weeks.")] = False,
    output: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("reports/demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the home of the demonstration there.")] = False,
) -> None:
    """Tell the whole story on this machine: serve, drift, retrain, release, roll back, forget.

    Example: forewarn demo --short
    """
    home = Path(mkdtemp(prefix="forewarn-demo-"))
    told = Demo(home, short=short)
    try:
        page = told.tell()
        output.mkdir(parents=True, exist_ok=True)
        kept = shutil.copy(page, output / "demo.html")
    finally:
        if keep:
            terminal.console.print(f"its home: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
    seconds = time.monotonic() - told.narrator.began
    terminal.console.print(f"[green]✓[/] {kept} [dim]({seconds:.0f} s)[/]", soft_wrap=True)
    chapters = len(told.narrator.chapters)
    print(orjson.dumps({"page": str(kept), "seconds": round(seconds), "chapters": chapters}).decode())


def _lists(told: Any) -> Iterator[list[Any]]:
    if isinstance(told, list):
        yield told
    elif isinstance(told, dict):
        for one in told.values():
            yield from _lists(one)


if __name__ == "__main__":
    terminal.command(demo)
