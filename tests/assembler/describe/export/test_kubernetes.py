"""`assembler export --to kubernetes`: what it writes is valid, complete, and does what it says."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no stubs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assembler.describe.export.job_clock import CronClock, differs, job_clock
from assembler.describe.export.pods import LABEL, label
from assembler.document.dump import dump
from assembler.manifest.schedule import every, parse
from assembler.manifest.step import Job
from assembler.plan.load import load
from tests.assembler.command import Outcome, in_folder, run, write

PROJECT = {
    "deploy/base.yaml": """\
manifest: 1
app: {title: "Estate API", version: "1.4.0"}
resources:
  db: {use: shop.things.db, with: {url: "${DATABASE_URL}"}, timeout: 20s, close_timeout: 5s}
routes:
  - {use: shop.health.router, prefix: /api/health}
""",
    "deploy/eu/prod.yaml": """\
manifest: 1
extends: ../base.yaml
settings: shop.things.Settings
startup:
  - {use: shop.things.fill, timeout: 45s, with: {level: "${LEVEL:-info}"}}
  - id: enum
    database: ${resources.db}
    sql:
      - {label: kinds, file: sql/kinds.sql}
scheduler:
  timezone: Asia/Kolkata
  store: ${resources.db}
  jobs:
    - {id: publish-posts, use: shop.things.publish, cron: "*/5 * * * *", timeout: 2m}
    - {use: shop.things.publish, cron: "0 9 * * 7", timezone: Europe/Paris, overlap: replace, grace: 5m}
    - {id: "hostile: $(rm) \\"\\n' é", use: shop.things.publish, every: 6h, overlap: allow, on_crash: rerun, timeout: 1m}
shutdown:
  - {use: shop.things.fill, timeout: 7s}
server: {port: 9000, timeout_graceful_shutdown: 10, drain: 5s, termination_grace: 40s}
""",
    "deploy/eu/sql/kinds.sql": "SELECT '$$ é';\n",
    "pyproject.toml": '[tool.assembler]\nimports = ["shop"]\n[tool.other]\nsecret = "canary"\n',
    "shop/things.py": """\
from sqlalchemy.ext.asyncio import AsyncEngine
from pydantic_settings import BaseSettings

class Settings(BaseSettings):
    name: str = ""

def db(*, url: str) -> AsyncEngine: ...
def fill(level: str = "info") -> None: ...
async def publish(job: object) -> None: ...
""",
    "shop/health.py": "from fastapi import APIRouter\n\ndef router() -> APIRouter: ...\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, PROJECT)
    return tmp_path


def exported(folder: Path, *arguments: str, file: str = "deploy/eu/prod.yaml") -> list[Any]:
    outcome = run("export", file, "--to", "kubernetes", *arguments, folder=folder)
    assert outcome.status == 0, outcome.err
    return list(yaml.safe_load_all(outcome.out))


def of_kind(objects: list[Any], kind: str) -> list[Any]:
    return [each for each in objects if each["kind"] == kind]


def pod_of(each: Any) -> Any:
    spec = each["spec"]
    return (spec["jobTemplate"]["spec"] if each["kind"] == "CronJob" else spec)["template"]["spec"]


def refused(folder: Path, text: str, *arguments: str) -> Outcome:
    write(folder, {"m.yaml": text, "jobs.py": "def run() -> None: ...\n"})
    return run("export", "m.yaml", "--to", "kubernetes", *arguments, folder=folder)


def test_every_object_is_valid_by_the_schemas_of_kubernetes(project: Path) -> None:
    objects = exported(project, "--namespace", "estate", "--image", "registry.example/estate:1")
    for version in ("1.29", kubernetes_validate.latest_version()):
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)
    assert [each["kind"] for each in objects] == [
        "ConfigMap",
        "Job",
        "Deployment",
        "Service",
        *["CronJob"] * 3,
    ]
    assert {each["metadata"]["namespace"] for each in objects} == {"estate"}
    assert all(LABEL.match(each["metadata"]["name"]) for each in objects)


def test_the_text_is_the_same_each_time_and_tells_no_value_of_a_variable(project: Path) -> None:
    arguments = ("export", "deploy/eu/prod.yaml", "--to", "kubernetes")
    first = run(*arguments, folder=project)
    second = run(*arguments, folder=project, environment={"DATABASE_URL": "db://canary"})
    assert first == second
    assert "canary" not in first.out + first.err


def test_every_pod_meets_the_restricted_standard_and_writes_below_tmp_alone(project: Path) -> None:
    pods = [
        pod_of(each) for each in exported(project) if each["kind"] not in {"ConfigMap", "Service"}
    ]
    assert len(pods) == 5
    for pod in pods:
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {
            mount["mountPath"]: mount.get("readOnly") for mount in container["volumeMounts"]
        } == {
            "/etc/assembler": True,
            "/tmp": None,
        }


@pytest.mark.parametrize(
    ("server", "arguments", "memory", "warning"),
    [
        ("{}", (), "256Mi", ""),
        ("{workers: 4}", (), "768Mi", ""),
        ("{workers: 4}", ("--memory", "1Gi"), "1Gi", ""),
        ('{workers: "${WORKERS:-4}"}', (), "256Mi", "the memory is that of one process"),
        ('{workers: "${WORKERS:-4}"}', ("--memory", "1Gi"), "1Gi", ""),
    ],
)
def test_the_memory_of_the_service_grows_with_its_workers(
    server: str, arguments: tuple[str, ...], memory: str, warning: str, tmp_path: Path
) -> None:
    outcome = refused(tmp_path, f"manifest: 1\nserver: {server}\n", *arguments)
    (deployment,) = of_kind(list(yaml.safe_load_all(outcome.out)), "Deployment")
    resources = pod_of(deployment)["containers"][0]["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == memory
    assert (warning in outcome.err) if warning else (outcome.err == "")


def test_a_release_job_applies_the_sql_and_is_another_one_where_anything_changes(
    project: Path,
) -> None:
    (job,) = of_kind(exported(project), "Job")
    command = ["assembler", "sql", "/etc/assembler/eu/prod.yaml", "--apply"]
    assert pod_of(job)["containers"][0]["command"] == command
    assert pod_of(job)["restartPolicy"] == "Never"
    assert job["spec"]["activeDeadlineSeconds"] == 3 * (60 + 30)
    (other,) = of_kind(exported(project, "--image", "registry.example/estate:2"), "Job")
    assert other["metadata"]["name"] != job["metadata"]["name"]  # a job cannot be changed
    assert of_kind(exported(project), "Job") == [job]
    write(project, {"deploy/eu/sql/kinds.sql": "SELECT 2"})
    (changed,) = of_kind(exported(project), "Job")
    assert changed["metadata"]["name"] != job["metadata"]["name"]


@pytest.mark.parametrize("url", ["", ", with: {url: 'sqlite+aiosqlite:////data/a.db'}"])
def test_without_sql_for_a_server_there_is_no_release_job(url: str, tmp_path: Path) -> None:
    step = "startup: [{id: a, database: '${resources.db}', sql: [{label: a, run: SELECT 1}]}]\n"
    text = f"manifest: 1\nresources: {{db: {{use: jobs.run{url}}}}}\n{step if url else ''}"
    (tmp_path / "jobs.py").write_text("def run(url: str = '') -> object: ...\n")
    (tmp_path / "m.yaml").write_text(text)
    assert of_kind(exported(tmp_path, file="m.yaml"), "Job") == []


@pytest.mark.parametrize(
    ("title", "name"),
    [("3D Shop", "app-3d-shop"), ("1", "app-1"), ("Shop 24", "shop-24"), ("24 " * 30, "app-24-")],
)
def test_a_title_that_begins_with_a_digit_gives_a_name_that_does_not(
    title: str, name: str, tmp_path: Path
) -> None:
    write(tmp_path, {"m.yaml": f'manifest: 1\napp: {{title: "{title}"}}\n'})
    (service,) = of_kind(exported(tmp_path, file="m.yaml"), "Service")
    assert service["metadata"]["name"].startswith(name)


@pytest.mark.parametrize(
    ("line", "zone", "day"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-28"),  # 02:30 is left out
        ("0 3 * * *", "Europe/Berlin", None),
        ("30 1 * * *", "America/New_York", "2027-11-07"),  # 01:30 comes twice
        ("30 2 * * MON", "Europe/Berlin", None),  # clocks change on Sundays
        ("30 2 1-20 3 *", "Europe/Berlin", None),
        ("30 2 29 2 *", "Europe/Berlin", None),
        ("15 2 * * *", "Australia/Lord_Howe", "2027-10-03"),  # by half an hour
        ("45 2 * * *", "Australia/Lord_Howe", None),
        ("*/5 2 * * *", "Europe/Berlin", None),  # cron runs it by instants, as the cluster does
        ("30 2 * * *", "Asia/Kolkata", None),
        ("30 2 * * *", "UTC", None),
    ],
)
def test_a_change_of_clocks_at_which_the_cluster_fires_otherwise_is_told(
    line: str, zone: str, day: str | None
) -> None:
    job = Job(use="a.b", cron=line, timezone=zone)
    found = differs(job, "UTC", datetime(2026, 11, 30, tzinfo=UTC))
    assert (found and f"{found:%Y-%m-%d}") == day
    assert (
        differs(Job(use="a.b", every=timedelta(days=1)), zone, datetime(2026, 1, 1, tzinfo=UTC))
        is None
    )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "line", ["30 1 * * *", "30 2 * * SUN", "5,50 1-3 * * *", "0 2 * * *", "0 0 * * *"]
)
def test_that_warning_agrees_with_the_fires_of_both_around_each_change(
    line: str, zone: str
) -> None:
    since = datetime(2026, 11, 30, tzinfo=UTC)
    schedule = parse(line, zone)
    minutes, hours = (
        numbers(text, 0, high)[0] for text, high in zip(line.split()[:2], (59, 23), strict=True)
    )
    weekdays = numbers(line.split()[4], 0, 6, DAYS)[0]
    other = None
    for day in range(2 * 366):
        low = since + timedelta(days=day)
        if (
            low.astimezone(schedule.zone).utcoffset()
            == (low + timedelta(days=1)).astimezone(schedule.zone).utcoffset()
        ):
            continue
        instants = [low + timedelta(minutes=minute) for minute in range(24 * 60)]
        theirs = [
            at
            for at in instants
            if (local := at.astimezone(schedule.zone)).minute in minutes
            and local.hour in hours
            and local.isoweekday() % 7 in weekdays
        ]
        ours = [
            at
            for at in schedule.fires(low - timedelta(seconds=1), 200)
            if at < low + timedelta(days=1)
        ]
        if theirs != ours:
            other = low
            break
    found = differs(Job(use="a.b", cron=line, timezone=zone), "UTC", since)
    assert (found is None) == (other is None)
    assert other is None or (found is not None and other <= found <= other + timedelta(days=1))


def test_a_job_becomes_a_cron_job(project: Path) -> None:
    publish, weekly, hostile = (each["spec"] for each in of_kind(exported(project), "CronJob"))
    assert (publish["schedule"], publish["timeZone"]) == ("*/5 * * * *", "Asia/Kolkata")
    assert publish["concurrencyPolicy"] == "Forbid"
    assert publish["startingDeadlineSeconds"] == 60
    assert publish["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 120 + 60
    assert publish["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert (weekly["schedule"], weekly["timeZone"]) == ("0 9 * * 0", "Europe/Paris")
    assert weekly["concurrencyPolicy"] == "Replace"
    assert weekly["startingDeadlineSeconds"] == 300
    assert "activeDeadlineSeconds" not in weekly["jobTemplate"]["spec"]
    assert (hostile["schedule"], hostile["timeZone"]) == ("0 */6 * * *", "Etc/UTC")
    assert hostile["concurrencyPolicy"] == "Allow"
    assert hostile["jobTemplate"]["spec"]["backoffLimit"] == 1
    assert hostile["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 2 * (60 + 60)  # of two pods


def expanded(text: str) -> str:
    """Do with a command what a kubelet does: `$$` is `$`, and `$(NAME)` is left where none is set."""
    return text.replace("$$", "$")


@pytest.mark.parametrize(
    ("name", "tick"),
    [
        ("estate-api-publish-29391840", "--at 2025-11-19T00:00:00Z"),
        ("estate-api-publish-by-hand", ""),
        ("manual", ""),
    ],
)
def test_a_pod_runs_its_job_with_the_tick_that_the_name_of_its_job_tells(
    project: Path, tmp_path: Path, name: str, tick: str
) -> None:
    hostile = pod_of(of_kind(exported(project), "CronJob")[2])["containers"][0]
    field = next(each for each in hostile["env"] if each["name"] == "TICK_OF")["valueFrom"]
    assert field == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    told = tmp_path / "bin" / "assembler"
    told.parent.mkdir()
    told.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    told.chmod(0o755)
    command = [expanded(part) for part in hostile["command"]]
    environment = {"PATH": f"{told.parent}:/usr/bin:/bin", "TICK_OF": name}
    ran = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", check=True, timeout=100
    )
    job = ["run-job", "/etc/assembler/eu/prod.yaml", "hostile: $(rm) \"\n' é"]
    assert ran.stdout.split("|")[:-1] == [*job, *tick.split()]


def test_the_config_map_holds_all_that_the_manifest_is_made_of(
    project: Path, tmp_path: Path
) -> None:
    objects = exported(project)
    data = of_kind(objects, "ConfigMap")[0]["data"]
    items = pod_of(of_kind(objects, "Deployment")[0])["volumes"][0]["configMap"]["items"]
    there = tmp_path / "there"
    write(there, {item["path"]: data[item["key"]] for item in items})
    assert set(data) == {item["key"] for item in items}
    for path in ("base.yaml", "eu/prod.yaml", "eu/sql/kinds.sql"):
        assert (there / path).read_bytes() == (project / "deploy" / path).read_bytes()
    assert (there / "pyproject.toml").read_text() == '[tool.assembler]\nimports = ["shop"]\n'
    with in_folder(project):
        here = load("deploy/eu/prod.yaml", static=True)
        whole = load(there / "eu" / "prod.yaml", static=True)
        service = load(there / "eu" / "service.yaml", static=True)
    assert whole.hash == here.hash
    assert len(whole.jobs) == 3
    assert not service.manifest.scheduler.enabled
    assert (service.manifest.server.host, service.manifest.server.port) == ("0.0.0.0", 9000)


def test_the_service_keeps_the_jobs_that_the_cluster_cannot_run(tmp_path: Path) -> None:
    jobs = '{id: fast, use: jobs.run, every: 90s}, {id: "a\\nb", use: jobs.run, cron: "@daily"}'
    outcome = refused(tmp_path, f"manifest: 1\nscheduler: {{jobs: [{jobs}]}}\n")
    assert outcome.status == 0
    assert "`fast` can be no cron job" in outcome.err
    assert "the service's scheduler keeps it" in outcome.err
    objects = list(yaml.safe_load_all(outcome.out))
    write(tmp_path, of_kind(objects, "ConfigMap")[0]["data"])
    with in_folder(tmp_path):
        assert [job.id for job in load("service.yaml", static=True).jobs] == ["fast"]
    assert len(of_kind(objects, "CronJob")) == 1


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ('cron: "30 0 9 * * *"', "Kubernetes has no seconds"),
        ('cron: "0 0 L * *"', "Kubernetes has no `L`, `LW` and `#`"),
        ('cron: "0 0 */2 * MON"', "for OR"),
        ("every: 90m", "no crontab line is this interval"),
        ('cron: "${LINE}"', "its `cron` comes from a variable"),
        ('cron: "@daily", timeout: "${BOUND}"', "its `timeout` comes from a variable"),
    ],
)
def test_a_job_without_a_scheduler_that_could_keep_it_is_refused(
    tmp_path: Path, job: str, reason: str
) -> None:
    off = f"manifest: 1\nscheduler: {{enabled: false, jobs: [{{use: jobs.run, {job}}}]}}\n"
    outcome = refused(tmp_path, off)
    assert outcome.status == 1
    assert outcome.out == ""
    assert "error[not-exported]" in outcome.err
    assert reason in outcome.err
    assert "m.yaml:2:" in outcome.err


def test_without_a_store_a_tick_that_is_started_twice_runs_twice_and_that_is_told(
    tmp_path: Path,
) -> None:
    jobs = '[{use: jobs.run, cron: "@daily"}]'
    outcome = refused(tmp_path, f"manifest: 1\nscheduler: {{jobs: {jobs}}}\n")
    assert outcome.status == 0
    assert "warning[scheduler-without-store]" in outcome.err


def test_variables_come_from_one_secret_and_those_with_a_default_may_be_missing(
    project: Path,
) -> None:
    objects = exported(project, "--secret", "estate-secrets")
    for each in [*of_kind(objects, "Deployment"), *of_kind(objects, "CronJob")]:
        container = pod_of(each)["containers"][0]
        keys = [item["valueFrom"].get("secretKeyRef") for item in container["env"][1:3]]
        assert keys == [
            {"name": "estate-secrets", "key": "DATABASE_URL"},
            {"name": "estate-secrets", "key": "LEVEL", "optional": True},
        ]
        assert container["envFrom"] == [{"secretRef": {"name": "estate-secrets", "optional": True}}]


def test_the_deployment_has_the_bounds_of_the_manifest(project: Path) -> None:
    deployment, service = (
        of_kind(exported(project), kind)[0] for kind in ("Deployment", "Service")
    )
    pod = pod_of(deployment)
    container = pod["containers"][0]
    assert container["image"] == "estate-api:1.4.0"
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]
    assert container["command"] == ["assembler", "serve", "/etc/assembler/eu/service.yaml"]
    assert pod["terminationGracePeriodSeconds"] == 40
    # 30s of imports, 20s of a resource, 45s and 30s of the steps, in tries of 5s
    assert container["startupProbe"] == {
        "httpGet": {"path": "/api/health/startup", "port": "http"},
        "periodSeconds": 5,
        "failureThreshold": 25,
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/api/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/api/health/ready"
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector == service["spec"]["selector"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    pods_of_jobs = [
        job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        for job in of_kind(exported(project), "CronJob")
    ]
    assert not any(selector.items() <= labels.items() for labels in pods_of_jobs)


def test_without_a_health_router_the_probes_ask_the_port(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    objects = exported(tmp_path, "--name", "shop", "--port", "8080", file="m.yaml")
    container = pod_of(of_kind(objects, "Deployment")[0])["containers"][0]
    assert container["readinessProbe"] == {"tcpSocket": {"port": "http"}}
    assert "livenessProbe" not in container
    assert container["ports"][0]["containerPort"] == 8080


def test_a_server_with_a_certificate_is_asked_over_https(tmp_path: Path) -> None:
    text = """\
manifest: 1
routes: [{use: shop.health.router, prefix: /health}]
server: {ssl_certfile: /tls/crt, ssl_keyfile: /tls/key}
"""
    write(tmp_path, {**PROJECT, "m.yaml": text})
    container = pod_of(of_kind(exported(tmp_path, file="m.yaml"), "Deployment")[0])["containers"][0]
    assert container["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--name", "Shop"),
        ("--name", "a" * 41),
        ("--name", "1shop"),
        ("--namespace", "no_such"),
        ("--image", "not an image"),
        ("--cpu", "much"),
        ("--memory", "256 MiB"),
        ("--replicas", "-1"),
        ("--port", "0"),
    ],
)
def test_names_and_sizes_that_a_cluster_would_refuse_are_wrong_calls(
    tmp_path: Path, arguments: tuple[str, str]
) -> None:
    outcome = refused(tmp_path, "manifest: 1\n", *arguments)
    assert outcome.status == 2
    assert outcome.out == ""


def test_a_literal_password_is_told_of(tmp_path: Path) -> None:
    text = 'manifest: 1\napp: {title: "db://shop:sesame@localhost/shop"}\n'
    outcome = refused(tmp_path, text, "--name", "shop")
    assert outcome.status == 0
    assert "`m.yaml` holds a password" in outcome.err
    assert "sesame" not in outcome.err


def test_more_than_a_config_map_takes_is_refused(tmp_path: Path) -> None:
    outcome = refused(tmp_path, "manifest: 1\n" + "# padding padding\n" * 56_000)
    assert outcome.status == 1
    assert "more than a config map takes" in outcome.err


def numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> tuple[set[int], bool]:
    """Read a field as robfig/cron v3 does, and tell whether it counts as a star."""
    found, is_star = set(), False
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        start, end = low, high
        if first == "*":
            is_star |= step in {"", "1"}
        else:
            start = names.index(first) if first in names else int(first)
            end = high if step else start
            if dash:
                end = names.index(last) if last in names else int(last)
        assert low <= start <= end <= high, field
        found |= set(range(start, end + 1, int(step or 1)))
    return found, is_star


DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def fires_of_kubernetes(line: str, start: datetime, count: int) -> list[datetime]:
    texts = line.split()
    minutes, _ = numbers(texts[0], 0, 59)
    hours, _ = numbers(texts[1], 0, 23)
    days, any_day = numbers(texts[2], 1, 31)
    months, _ = numbers(texts[3], 1, 12)
    weekdays, any_weekday = numbers(texts[4], 0, 6, DAYS)
    fires: list[datetime] = []
    day = start
    while len(fires) < count:
        on_day, on_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        is_due = on_day and on_weekday if any_day or any_weekday else on_day or on_weekday
        if is_due and day.month in months:
            times = [timedelta(hours=h, minutes=m) for h in sorted(hours) for m in sorted(minutes)]
            fires += [day + each for each in times if day + each > start]
        day += timedelta(days=1)
    return fires[:count]


@pytest.mark.parametrize(
    "line",
    [
        "*/20 * * * *",
        "0 */6 * * *",
        "30 9 * * 7",
        "30 9 * * 5-7",
        "30 9 * * FRI-SUN",
        "30 9 13 * FRI",
        "30 9 */10 * *",
        "30 9 * * */3",
        "30 9 1-31 * MON",
        "30 9 5,* * MON",
        "30 9 *,5 * MON",
        "0 12 * * */7",
        "5/15 12 * * *",
        "0 0 9 * * *",
    ],
)
def test_kubernetes_reads_the_line_as_the_same_fires(line: str) -> None:
    clock = job_clock(Job(use="a.b", cron=line), "UTC")
    assert isinstance(clock, CronClock)
    start = datetime(2026, 11, 1, tzinfo=UTC)
    assert fires_of_kubernetes(clock.schedule, start, 8) == parse(line).fires(start, 8)


@pytest.mark.parametrize("minutes", [1, 2, 15, 30, 60, 120, 720, 1440, 7 * 1440])
def test_an_interval_becomes_a_line_with_the_same_fires(minutes: int) -> None:
    interval = timedelta(minutes=minutes)
    clock = job_clock(Job(use="a.b", every=interval), "Asia/Kolkata")
    assert isinstance(clock, CronClock)
    assert clock.zone == "Etc/UTC"
    start = datetime(2026, 11, 1, tzinfo=UTC)
    assert fires_of_kubernetes(clock.schedule, start, 3) == every(interval).fires(start, 3)


@pytest.mark.parametrize("text", ["7m", "90s", "25h", "48h", "1500ms", "36h"])
def test_an_interval_that_no_line_gives_becomes_none(text: str) -> None:
    assert isinstance(job_clock(Job.model_validate({"use": "a.b", "every": text}), "UTC"), str)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_id_has_a_name_of_its_own(one: str, other: str) -> None:
    names = [label(text, 52) for text in (one, other)]
    assert all(LABEL.match(name) and len(name) <= 52 for name in names)
    assert (names[0] == names[1]) == (one == other)


@given(st.text(max_size=60))
def test_any_text_is_a_string_again_for_whoever_reads_the_yaml(value: str) -> None:
    text = dump([{"value": value}])
    assert yaml.safe_load(text) == {"value": value}
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("value", ["no", "1e3", "0o17", "1_000", "1:30", "0x1f", ".inf", "~", "y"])
def test_what_some_reader_takes_for_another_type_stands_in_quotes(value: str) -> None:
    assert re.search(r'value: "', dump([{"value": value}]))
