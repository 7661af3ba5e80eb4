"""The dev service answers as its OpenAPI document says, asked by schemathesis with all of its checks.

`schemathesis.toml` beside this file has what is switched off for one operation, and why. The document
is given without its `4XX`, so that every status must be told by its own number.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.integration.documented import served
from tests.mcp_flow import log_in

ADMINISTRATOR = "8d9a3f52-admin"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
DOCUMENT = "/api/v1/openapi.json"

pytestmark = pytest.mark.timeout(900)  # seconds for what takes thirty, where much else runs


def strict(document: dict[str, Any], folder: Path) -> Path:
    """The document, where each status that may come has its number."""
    for operations in document["paths"].values():
        for operation in operations.values():
            del operation["responses"]["4XX"]
    path = folder / "openapi.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def asked(document: Path, url: str, *options: str, token: str = "") -> Counter[int]:
    """Have all operations asked, a fixed set of requests; gives how often each status came."""
    folder = document.parent
    report = folder / "requests.har"
    headers = ["-H", f"Authorization: Bearer {token}"] if token else []
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIGURATION), "run"),
        *(str(document), "--url", url, *headers, "--request-timeout", "120"),
        *("--generation-deterministic", "--no-shrink", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", *options),
        *("--report", "har", "--report-har-path", str(report)),
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-2000:]}"
    entries = json.loads(report.read_text("utf-8"))["log"]["entries"]
    return Counter(entry["response"]["status"] for entry in entries)


def test_it_answers_as_the_document_says(tmp_path: Path) -> None:
    with (
        served(tmp_path, "1000000/minute") as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        document = client.get(DOCUMENT).json()
        OpenAPIV31SpecValidator(document).validate()
        path = strict(document, tmp_path)
        phases = ("--phases", "examples,coverage,fuzzing", "--max-examples", "1")
        seen = asked(path, url, *phases)
        assert {200, 401, 404, 405, 422} <= seen.keys()
        token = log_in(client, user=ADMINISTRATOR)["access_token"]
        phases = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "2")
        seen = asked(path, url, *phases, token=token)
        assert {200, 201, 204, 404, 405, 422} <= seen.keys()


def test_it_answers_as_the_document_says_beyond_its_limits(tmp_path: Path) -> None:
    with served(tmp_path, "5/minute") as url:
        document = strict(httpx2.get(url + DOCUMENT, timeout=60).json(), tmp_path)
        seen = asked(document, url, "--phases", "examples,fuzzing", "--max-examples", "2")
        assert seen[429] > 0
