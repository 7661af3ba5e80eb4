"""A client that is generated of the shipped service's document reads its errors as objects of their types.

`.ci/openapi` runs this, as the generator wants other versions of our libraries than we do: it has an
environment of its own, and `OPENAPI_PYTHON_CLIENT` names its program.
"""

import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.documented import served

GENERATOR = os.environ.get("OPENAPI_PYTHON_CLIENT")


@pytest.mark.skipif(GENERATOR is None, reason="`.ci/openapi` runs it")
def test_errors_are_objects_of_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, "5/minute") as url:
        document = tmp_path / "openapi.json"
        document.write_bytes(httpx2.get(f"{url}/api/v1/openapi.json", timeout=60).content)
        _generate(document, tmp_path / "estate_client")
        monkeypatch.syspath_prepend(tmp_path)
        models = _part("models")
        with _part("client").Client(base_url=url) as client:
            visits = _part("api.visits.list_visits_api_v1_visits_get")
            listings = _part("api.listings.search_listings_api_v1_listings_get")
            refused = visits.sync(client=client)
            invalid = listings.sync(client=client, min_price=2, max_price=1)
            answers = [listings.sync_detailed(client=client) for _ in range(6)]
    assert isinstance(refused, models.Error)
    assert refused.error.code == "unauthorized"
    assert isinstance(invalid, models.InvalidRequest)
    assert invalid.error.details.errors[0].type_ == "price_range"
    limited = answers[-1]
    assert limited.status_code == 429
    assert isinstance(limited.parsed, models.Error)
    assert limited.parsed.error.code == "rate_limited"
    assert limited.parsed.error.details["retry_after"] > 0


def _generate(document: Path, folder: Path) -> None:
    configuration = document.with_name("configuration.yaml")
    configuration.write_text("post_hooks: []\n")  # which would format it
    command = [
        *(str(GENERATOR), "generate", "--path", str(document), "--config", str(configuration)),
        *("--meta", "none", "--output-path", str(folder), "--fail-on-warning"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _part(name: str) -> Any:
    return importlib.import_module(f"estate_client.{name}")
