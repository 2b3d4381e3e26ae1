"""Experiments and model versions. The only file that knows MLflow."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from forewarn.errors import CannotStart, NotFound
from forewarn.fields import FieldSpec, Row
from forewarn.settings import PROJECT, Settings
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

PARENT = "mlflow.parentRunId"
# MLflow refuses longer ones.
MOST_TAG = 5000
MOST_DIGEST = 36
# What loads a registered package in a bare environment; no service dependency among them.
REQUIREMENTS = [
    "numpy",
    "scipy",
    "xgboost",
    "scikit-learn",
    "skops",
    "pydantic>=2.12",
    "pydantic-settings",
    "pyyaml",
    "pandas",
]


class Registry:
    """One tracking server, named explicitly at every call, so that nothing depends on a worker's folder."""

    def __init__(self, settings: Settings):
        settings.make_home()
        for talker in ("alembic", "mlflow"):  # 60 lines of migrations on the first use of a fresh database
            logging.getLogger(talker).setLevel(logging.WARNING)
        self._settings = settings
        self.uri = settings.mlflow_uri
        self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def start_run(self, case: UseCase, name: str, *, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open a run in the use case's experiment; its id."""
        run = self._client.create_run(self._experiment(case), run_name=name, tags=dict(tags))
        self._write(run.info.run_id, params=params)
        return str(run.info.run_id)

    def log_trial(
        self,
        case: UseCase,
        parent: str,
        name: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """One finished trial as a run nested below its search, in one write."""
        run = self._client.create_run(self._experiment(case), run_name=name, tags={PARENT: parent, **tags})
        self._write(run.info.run_id, params=params, metrics=metrics)
        self._client.set_terminated(run.info.run_id)

    def trials(self, case: UseCase, parent: str) -> set[str]:
        """The names of the runs nested below a search."""
        found = self._client.search_runs([self._experiment(case)], f"tags.`{PARENT}` = '{parent}'", max_results=50_000)
        return {str(run.info.run_name) for run in found}

    def finish_run(self, run: str, *, metrics: Mapping[str, float]) -> None:
        """Close a run with its last metrics."""
        self._write(run, metrics=metrics)
        self._client.set_terminated(run)

    def log_table(
        self, run: str, case: UseCase, rows: Sequence[Row], labels: Vector, *, name: str, digest: str
    ) -> None:
        """Say which table a run learned from: its name, hash, size and columns; none of its rows (S2-37)."""
        columns = {spec.wire: [row[spec.name] for row in rows] for spec in case.inputs}
        frame = pd.DataFrame(columns).astype({spec.wire: _dtype(spec) for spec in case.inputs})
        told = mlflow.data.from_pandas(  # type: ignore[attr-defined]
            frame.assign(**{case.target: labels}),
            targets=case.target,
            name=name,
            digest=digest[:MOST_DIGEST] or None,
        )
        tag = InputTag(key="mlflow.data.context", value="training")
        self._client.log_inputs(run, datasets=[DatasetInput(dataset=told._to_mlflow_entity(), tags=[tag])])

    def log_files(self, run: str, folder: Path, *, below: str) -> None:
        """Every file of a folder as artefacts of a run."""
        self._client.log_artifacts(run, str(folder), below)

    def log_report(
        self, case: UseCase, kind: str, files: Sequence[Path], *, metrics: Mapping[str, float], version: str
    ) -> str:
        """A run of its own for a report on a version that serves: its files, its figures. Its id.

        Raises:
            CannotStart: the tracking server does not take it.
        """
        tags = {"kind": kind, "version": version, "git_sha": self._settings.git_sha}
        try:
            run = self.start_run(case, f"{kind} of {version}", params={}, tags=tags)
            for file in files:
                self._client.log_artifact(run, str(file), kind)
            self.finish_run(run, metrics=metrics)
        except MlflowException as error:
            raise CannotStart(f"{self._settings.mlflow_uri}: {str(error).splitlines()[0][:200]}") from error
        return run

    def register(self, case: UseCase, run: str, folder: Path, *, tags: Mapping[str, str] | None = None) -> str:
        """Log a package as an MLflow model of this run and register it; the version, such as "v3"."""
        self._point_here()
        with mlflow.start_run(run_id=run):
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module="forewarn.pyfunc",
                data_path=str(folder),
                code_paths=[str(PROJECT / "forewarn")],
                signature=_signature(case),
                input_example=_example(case),
                pip_requirements=REQUIREMENTS,
            )
        if not self._client.search_registered_models(f"name = '{case.name}'"):
            self._client.create_registered_model(case.name, description=case.title)
        made = self._client.create_model_version(
            case.name, logged.model_uri, run_id=run, model_id=logged.model_id, tags=dict(tags or {})
        )
        return f"v{made.version}"

    def note(self, case: UseCase, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version; those of the same name are replaced."""
        for key, value in tags.items():
            self._client.set_model_version_tag(case.name, _digits(version), key, value[:MOST_TAG])

    def tags(self, case: UseCase, version: str) -> dict[str, str]:
        """A version's tags.

        Raises:
            NotFound: no such version.
        """
        return dict(self._version(case, version).tags)

    def versions(self, case: UseCase) -> dict[str, dict[str, str]]:
        """Every registered version with its tags, oldest first."""
        found = self._client.search_model_versions(f"name = '{case.name}'", max_results=1000)
        return {f"v{one.version}": dict(one.tags) for one in sorted(found, key=lambda one: int(one.version))}

    def alias(self, case: UseCase, name: str, version: str | None) -> None:
        """Point an alias at a version, or at none; where it points already nothing is written."""
        if self.aliased(case, name) == version:
            return
        if version is None:
            self._client.delete_registered_model_alias(case.name, name)
        else:
            self._client.set_registered_model_alias(case.name, name, _digits(version))

    def aliased(self, case: UseCase, name: str) -> str | None:
        """The version that an alias names; None if there is none."""
        try:
            return f"v{self._client.get_model_version_by_alias(case.name, name).version}"
        except MlflowException:
            return None

    def fetch(self, case: UseCase, version: str) -> Path:
        """A registered version's package folder, downloaded if the registry is elsewhere.

        Raises:
            NotFound: no such version.
        """
        found = self._version(case, version)
        self._point_here()  # MLflow resolves models:/ by its global address, whatever it is told beside it
        local = mlflow.artifacts.download_artifacts(
            f"models:/{case.name}/{found.version}", registry_uri=self.uri, tracking_uri=self.uri
        )
        return next(Path(local).glob("data/*"))

    def _point_here(self) -> None:
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

    def _version(self, case: UseCase, version: str) -> ModelVersion:
        try:
            return self._client.get_model_version(case.name, _digits(version))
        except MlflowException:
            raise NotFound(
                f"{case.name} has no registered version {version}; `forewarn release list` names those there are"
            ) from None

    def _experiment(self, case: UseCase) -> str:
        found = self._client.get_experiment_by_name(case.name)
        if found is not None:
            return str(found.experiment_id)
        place = None if self._settings.tracking_uri else (self._settings.artifacts / case.name).as_uri()
        return str(self._client.create_experiment(case.name, artifact_location=place))

    def _write(
        self, run: str, *, params: Mapping[str, Any] | None = None, metrics: Mapping[str, float] | None = None
    ) -> None:
        now = int(time() * 1000)
        self._client.log_batch(
            run,
            metrics=[Metric(key, float(value), now, 0) for key, value in (metrics or {}).items()],
            params=[Param(key, str(value)) for key, value in (params or {}).items()],
        )


def _signature(case: UseCase) -> ModelSignature:
    """Numbers and codes are doubles, because MLflow's integers cannot be missing."""
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(_kind(spec), spec.wire, required=spec.required) for spec in case.fields
    ]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec("double", "score")]))


def _example(case: UseCase) -> pd.DataFrame:
    """Made-up rows without a subject; MLflow scores them once to prove that the logged model answers."""
    frame = pd.DataFrame(case.sample(2, seed=1)).reindex(columns=[spec.wire for spec in case.fields])
    return frame.astype({spec.wire: _dtype(spec) for spec in case.fields})


def _kind(spec: FieldSpec) -> str:
    coded = any(isinstance(level, int) for level in spec.levels)
    return "double" if spec.kind == "number" or coded else "string"


def _dtype(spec: FieldSpec) -> Any:
    return "float64" if _kind(spec) == "double" else object


def _digits(version: str) -> str:
    return version.removeprefix("v")
