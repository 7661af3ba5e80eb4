"""The application as the manifest describes it, with the values that a test needs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import assembler

MANIFEST = Path(__file__).parents[1] / "manifests" / "dev.yaml"


@pytest.fixture
def client() -> Iterator[TestClient]:
    plan = assembler.load(MANIFEST, override={"routes.greetings.with.greeting": "Good day"})
    with TestClient(assembler.build(plan)) as client:
        yield client


def test_a_name_is_greeted(client: TestClient) -> None:
    response = client.get("/api/greetings/Ann")
    assert response.status_code == 200
    assert response.json() == {"message": "Good day, Ann!"}


def test_every_answer_tells_its_time(client: TestClient) -> None:
    assert client.get("/nowhere").headers["Server-Timing"].startswith("app;dur=")
