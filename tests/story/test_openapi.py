"""What the service says of itself is true: thousands of generated requests, none of which it may fail on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Service

pytestmark = pytest.mark.cluster
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CASES_AN_OPERATION = 60


@pytest.mark.requirement("S2-45")
@pytest.mark.timeout(600)
def test_no_generated_request_fails_or_breaks_the_schema(service: Service, tmp_path: Path) -> None:
    key = service.client.headers["X-API-Key"]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.application.url}/openapi.json",
        "--header", f"X-API-Key: {key}", "--checks", CHECKS, "--phases", "examples,fuzzing",
        "--max-examples", str(CASES_AN_OPERATION), "--seed", "1",
        # It would opt people out of whom later tests ask.
        "--exclude-operation-id", "post_v1_opt-outs", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:]
    generated = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert generated, run.stdout[-3000:]
    assert int(generated[2]) >= 2000, run.stdout[-3000:]
