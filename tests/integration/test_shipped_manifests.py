"""The manifests of this repository: what they say, and what is served of them by real servers."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import assembler
from assembler.testing import Assembled
from tests.assembler.command import run
from tests.components.mcp.issuer import token
from tests.integration.production import variables

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "manifests").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PUBLIC_BASE_URL", "http://127.0.0.1:8000")  # dev.yaml stands nowhere else


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_source_alone_tells_the_same_options_as_an_import(path: Path) -> None:
    imported = assembler.load(path)
    read = assembler.load(path, static=True)
    assert read.hash == imported.hash
    for name in ("resources", "middleware", "handlers", "routes", "startup"):
        for static, running in zip(getattr(read, name), getattr(imported, name), strict=True):
            assert static.target.path == running.target.path
            if running.target.form == "instance" or running.late:
                continue  # one is taken as it is, the other is not looked at before it is wanted
            if static.target.path not in {item.message.split("`")[1] for item in read.warnings}:
                assert list(static.target.signature.parameters) == list(
                    running.target.signature.parameters
                )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_shipped_manifest_builds(path: Path) -> None:
    plan = assembler.load(path, {"logging": None})
    assert plan.warnings == ()
    app = assembler.build(plan)
    assert app.state.assembly.dispatch == "indexed"


def test_the_shipped_manifests_are_in_canonical_form() -> None:
    done = run("format", "--check", *map(str, MANIFESTS), folder=ROOT)
    assert (done.status, done.err) == (0, "")


def test_the_manifest_of_tests_says_the_same_whatever_the_environment_says(
    assembled: Assembled,
) -> None:
    odd = {
        "ESTATE_DATABASE_URL": "postgresql://u:p@db.invalid/estate",
        "ESTATE_LISTINGS": "3",
        "ESTATE_CURRENCY": "EUR",
        "ESTATE_PAGE_SIZE": "5",
        **dict.fromkeys(variables()),
    }
    client = assembled("manifests/test.yaml", environment=odd)
    page = client.get("/api/v1/listings", params={"limit": 100}).json()
    assert page["total"] > 3
    assert client.get("/health/ready").json() == {"status": "ready"}
    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    answer = client.options("/api/v1/listings", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_the_manifest_of_tests_runs_no_clock_but_its_jobs(assembled: Assembled) -> None:
    client = assembled("manifests/test.yaml")
    assembly = client.app.state.assembly  # type: ignore[attr-defined]  # FastAPI's
    assert client.portal is not None
    result = client.portal.call(assembly.jobs.run_now, "withdraw-stale")
    assert result.outcome == "ok"


def administrator() -> dict[str, str]:
    """The header of an administrator's requests to the manifest of tests."""
    secret = "what-tests-sign-their-tokens-with"
    admin = token(secret, iss="https://issuer.example", app_metadata={"role": "admin"})
    return {"authorization": f"Bearer {admin}"}


def test_two_applications_of_the_manifest_of_tests_share_nothing(assembled: Assembled) -> None:
    first, second = assembled("manifests/test.yaml"), assembled("manifests/test.yaml")
    page = first.get("/api/v1/listings").json()
    listing = f"/api/v1/listings/{page['items'][0]['id']}"
    assert first.delete(listing).status_code == 401
    assert first.delete(listing, headers=administrator()).status_code == 204
    assert first.get("/api/v1/listings").json()["total"] == page["total"] - 1
    assert first.get(listing).status_code == 404
    assert second.get(listing).status_code == 200


def test_the_manifest_of_a_laptop_needs_nothing(assembled: Assembled, tmp_path: Path) -> None:
    environment = {
        **dict.fromkeys(variables()),
        "ESTATE_DATABASE_URL": f"sqlite:///{tmp_path}/e.db",
    }
    client = assembled("manifests/dev.yaml", environment=environment)
    assert client.get("/api/v1/docs").status_code == 200
    answer = client.get("/api/v1/listings", headers={"origin": "https://anywhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_developer_begins_at_the_console(assembled: Assembled, tmp_path: Path) -> None:
    environment = {
        **dict.fromkeys(variables()),
        "ESTATE_DATABASE_URL": f"sqlite:///{tmp_path}/e.db",
    }
    here: dict[str, Any] = {"base_url": "http://127.0.0.1:8000", "client": ("127.0.0.1", 5000)}
    client = assembled(
        "manifests/dev.yaml", environment=environment, follow_redirects=False, **here
    )
    answer = client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/_assembly")
    for path in (
        "/_assembly",
        "/_assembly/",
        "/_assembly/explain",
        "/_assembly/static/console.css",
    ):
        assert client.get(path).status_code == 200
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or "_assembly" in path]
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        assert client.get("/_assembly/api/overview", headers=headers).status_code == 404


def test_consoles_of_production_ask_for_the_token(tmp_path: Path) -> None:
    prod, serverless = (assembler.load(f"manifests/{name}.yaml") for name in ("prod", "serverless"))
    (console,) = (part for part in prod.routes if part.id == "console")
    assert "token" in console.options.data
    assert "actions" not in console.options.data
    assert not [part for part in (*prod.routes, *serverless.routes) if part.id == "home"]
    assert "console" not in {part.id for part in serverless.routes}


def test_no_host_that_a_client_names_is_redirected_to() -> None:
    memory = "sqlite+aiosqlite://"
    override = {"resources.db.with.url": memory}
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


def test_a_scheduled_post_is_published_by_the_job_of_the_manifest(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/estate.db"
    app = assembler.build(assembler.load("manifests/test.yaml", {"resources.db.with.url": url}))
    posts = "/api/v1/posts"
    with TestClient(app) as client:
        assert client.post(posts, json={"title": "Noise"}).status_code == 401
        seen = {item["status"] for item in client.get(posts).json()["items"]}
        assert seen == {"published"}
        client.headers.update(administrator())
        post = client.post(posts, json={"title": "Quiet streets"}).json()
        path = f"{posts}/{post['id']}"
        client.post(f"{path}/schedule", json={"publish_at": "2026-01-15T09:00:00+05:30"})
        assert client.get(path).json()["status"] == "scheduled"
        assert client.get(path, headers={"authorization": ""}).status_code == 401
        assert client.portal is not None
        result = client.portal.call(app.state.assembly.jobs.run_now, "publish-posts")
        assert result.outcome == "ok"
        del client.headers["authorization"]
        assert client.get(path).json()["status"] == "published"
        paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert f"{posts}/{{post_id}}/publish" in paths
