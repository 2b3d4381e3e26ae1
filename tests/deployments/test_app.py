import pytest
import yaml
from pydantic import ValidationError

from deployments.app import AppArgs, build
from forewarn.errors import NotFound
from forewarn.settings import PROJECT


def plan() -> dict[str, object]:
    args: dict[str, object] = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())["applications"][0]["args"]
    return args


def test_the_shipped_file_is_understood_and_scales_the_model() -> None:
    args = AppArgs.model_validate(plan())
    assert args.model.max_replicas > args.model.min_replicas
    used = args.ingress.num_cpus + len(args.use_cases) * (args.preprocessor.num_cpus + args.model.num_cpus)
    assert used <= 0.5, "two trials of 0.75 CPU must still fit on two cores"


def test_every_deployment_can_grow_to_its_largest() -> None:
    args = AppArgs.model_validate(plan())
    flying = args.door.groups_in_flight * args.ingress.max_replicas
    assert flying / args.model.target_ongoing_requests >= args.model.max_replicas
    with pytest.raises(ValidationError, match=r"raise door\.groups_in_flight"):
        AppArgs.model_validate(plan() | {"model": {"max_replicas": 9, "target_ongoing_requests": 2}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"modle": {}},
        {"model": {"min_replica": 1}},
        {"use_cases": []},
        {"use_cases": ["attrition", "attrition"]},
        {"default_use_case": "weather"},
    ],
)
def test_an_unknown_or_empty_key_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AppArgs.model_validate(plan() | wrong)


def test_an_unknown_use_case_is_refused() -> None:
    with pytest.raises(NotFound, match="weather"):
        AppArgs.model_validate(plan() | {"use_cases": ["weather"]})


def test_the_graph_is_ingress_preprocessor_model() -> None:
    application = build(AppArgs.model_validate(plan() | {"composition": "chained"}))
    assert application._bound_deployment.name == "Ingress"
    (pipelines,) = [
        arg for arg in application._bound_deployment.init_args if isinstance(arg, dict) and "attrition" in arg
    ]
    assert list(pipelines) == plan()["use_cases"]
    for name, pipeline in pipelines.items():
        preprocessor = pipeline._bound_deployment
        assert preprocessor.name == f"Preprocessor-{name}"
        assert preprocessor.init_args[1]._bound_deployment.name == f"Model-{name}"


def test_colocated_is_the_same_graph_with_the_model_in_the_preprocessors_process() -> None:
    assert plan()["composition"] == "colocated"
    application = build(AppArgs.model_validate(plan()))
    (pipelines,) = [arg for arg in application._bound_deployment.init_args if isinstance(arg, dict) and "churn" in arg]
    preprocessor = pipelines["churn"]._bound_deployment
    assert preprocessor.init_args == ("churn", None)
    scaling = preprocessor._deployment_config.autoscaling_config
    assert scaling.max_replicas == AppArgs.model_validate(plan()).model.max_replicas
