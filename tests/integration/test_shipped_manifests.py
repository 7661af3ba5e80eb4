"""The manifests of this repository: read by source alone they say what they say when imported."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

import assembler

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "manifests").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_source_alone_tells_the_same_options_as_an_import(path: Path) -> None:
    imported = assembler.load(path)
    read = assembler.load(path, static=True)
    assert read.hash == imported.hash
    for name in ("resources", "middleware", "handlers", "routes", "startup"):
        for static, running in zip(getattr(read, name), getattr(imported, name), strict=True):
            assert static.target.path == running.target.path
            if static.target.path not in {item.message.split("`")[1] for item in read.warnings}:
                assert list(static.target.signature.parameters) == list(
                    running.target.signature.parameters
                )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_shipped_manifest_builds(path: Path) -> None:
    app = assembler.build(assembler.load(path))
    assert app.state.assembly.dispatch == "indexed"


def test_no_host_that_a_client_names_is_redirected_to() -> None:
    override = {"resources.db.with.url": "sqlite+aiosqlite://"}
    app = assembler.build(assembler.load("manifests/dev.yaml", override))
    listings = "/api/v1/listings"
    tails = (
        "",
        "/",
        "//",
        "/%2F",
        "%2F",
        "%2F/",
        "/%2F%2F",
        "%2f%2f//",
        "/%5C",
        "/1/%2F",
        "/1%2F/",
    )
    paths = [
        *(f"{listings}{tail}" for tail in tails),
        *(f"//evil.example{listings}{tail}" for tail in tails),
        *("/%2F", "//%2F", "/%2Fevil.example/%2F", "/api/v1/docs/%2F", "/api/v1/docs%2F?a=b"),
    ]
    with TestClient(app) as client:
        for host in ("evil.example", "evil.example:81", "evil.example/x?", "", "a@evil.example"):
            for path in paths:
                answer = client.get(
                    f"http://testserver{path}", headers={"host": host}, follow_redirects=False
                )
                assert answer.status_code < 500, (host, path)
                location = answer.headers.get("location", "/")
                assert location.startswith("/"), (host, path, location)
                assert not location.startswith("//"), (host, path, location)
