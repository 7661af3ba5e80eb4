"""The audit of whole manifests: profiles, suppressions, statuses, and what it never shows."""

import json
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import ManifestError
from assembler.diagnostics.render import render
from assembler.manifest.review import Suppression
from assembler.plan.allow_list import ImportList
from assembler.plan.load import load_shape
from assembler.review.audit import Report, audit
from assembler.review.audit.report import as_dict, as_sarif, as_text
from assembler.review.audit.rule import EVERYWHERE, SEVERITIES, Profile, profile_of
from assembler.review.audit.table import OF_SUPPRESSIONS, RULES
from assembler.review.report import as_github, result_of
from tests.assembler.command import run, write
from tests.assembler.project import project

TODAY = date(2027, 1, 31)
EVERYTHING = ImportList(None, None)
MANIFESTS = Path(__file__).parents[4] / "manifests"
RELOADING = "manifest: 1\nserver: {reload: true}\n"
KEY = "sk-" + "canary" * 5


def audited(folder: Path, text: str, profile: Profile = "prod", **options: Any) -> Report:
    file = folder / "manifest.yaml"
    file.write_text(text, "utf-8")
    document, manifest = load_shape(file)
    return audit(document, manifest, profile, today=TODAY, imports=EVERYTHING, **options)


def broken(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def suppressing(rule: str, until: str = "2027-01-31") -> str:
    return f"{RELOADING}audit: {{suppress: [{{rule: {rule}, reason: why not, until: {until}}}]}}\n"


def test_a_suppression_silences_its_rule_through_its_last_day(tmp_path: Path) -> None:
    report = audited(tmp_path, suppressing("reload-on"))
    assert "reload-on" not in broken(report)
    (silenced,) = report.silenced
    assert (silenced.finding.rule, silenced.reason) == ("reload-on", "why not")


def test_an_expired_suppression_counts_and_is_told(tmp_path: Path) -> None:
    report = audited(tmp_path, suppressing("reload-on", "2027-01-30"))
    assert {"reload-on", "suppression-expired"} <= set(broken(report))
    assert report.silenced == ()
    assert report.trips("high")


def test_a_suppression_whose_end_a_variable_tells_does_not_count(tmp_path: Path) -> None:
    report = audited(tmp_path, suppressing("reload-on", '"${DAY:-2999-12-31}"'))
    assert {"reload-on", "suppression-expired"} <= set(broken(report))


def test_an_unknown_rule_in_a_suppression_is_told_with_the_one_that_was_meant(
    tmp_path: Path,
) -> None:
    report = audited(tmp_path, suppressing("reload-onn"))
    (told,) = [one for one in report.findings if one.rule == "suppression-unknown"]
    assert told.fix == "did you mean `reload-on`?"
    assert "reload-on" in broken(report)


def test_what_is_said_of_suppressions_cannot_be_silenced(tmp_path: Path) -> None:
    report = audited(tmp_path, suppressing("suppression-unknown"))
    assert "suppression-unknown" in broken(report)


def test_a_change_cannot_silence_its_own_gate(tmp_path: Path) -> None:
    new = suppressing("reload-on")
    assert "reload-on" in broken(audited(tmp_path, new, suppressions=()))
    of_base = [Suppression(rule="reload-on", reason="older", until=TODAY)]
    assert "reload-on" not in broken(audited(tmp_path, RELOADING, suppressions=of_base))


def test_the_suppressions_of_a_commit_hold_for_what_changes_them(tmp_path: Path) -> None:
    silenced = "{rule: reload-on, reason: why not, until: 2999-12-31}"
    quiet = f"{RELOADING}audit: {{suppress: [{silenced}]}}\n"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    write(tmp_path, {"old/prod.yaml": quiet, "prod.yaml": RELOADING})
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True, timeout=100)
    write(tmp_path, {"old/prod.yaml": RELOADING, "prod.yaml": quiet, "new-prod.yaml": quiet})
    for name, status in {"old/prod.yaml": 0, "prod.yaml": 1, "new-prod.yaml": 1}.items():
        assert run("audit", name, "--base", "HEAD", folder=tmp_path).status == status
    assert run("audit", "prod.yaml", folder=tmp_path).status == 0
    outcome = run("audit", "prod.yaml", "--base", "nowhere", folder=tmp_path)
    assert outcome.status == 2
    assert "`nowhere` names no commit here" in outcome.err


def test_rules_of_another_side_can_be_given(tmp_path: Path) -> None:
    only = {"no-drain": RULES["no-drain"]}
    assert broken(audited(tmp_path, RELOADING, rules=only)) == ["no-drain"]


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("dev.yaml", "dev"),
        ("api.local.yaml", "dev"),
        ("test.yaml", "test"),
        ("lambda-eu.yaml", "serverless"),
        ("prod.yaml", "prod"),
        ("staging.yaml", "prod"),
        ("shop.yaml", "prod"),
        ("latest.yaml", "prod"),
        ("prod-test.yaml", "prod"),
    ],
)
def test_the_name_of_a_manifest_tells_its_profile(name: str, profile: str) -> None:
    assert profile_of(Path("manifests") / name) == profile


def test_a_default_of_a_variable_is_what_counts(tmp_path: Path) -> None:
    text = 'manifest: 1\nserver: {reload: "${RELOAD:-true}"}\n'
    assert "reload-on" in broken(audited(tmp_path, text))
    assert "reload-on" not in broken(audited(tmp_path, text.replace(":-true", "")))


@pytest.mark.parametrize(
    ("severity", "bar", "status"),
    [
        ("high", "high", 1),
        ("medium", "high", 0),
        ("medium", "medium", 1),
        ("low", "medium", 0),
        ("low", "low", 1),
    ],
)
def test_the_status_is_by_the_least_severity_that_fails(
    tmp_path: Path, severity: str, bar: str, status: int
) -> None:
    section = {
        "high": "server: {reload: true, drain: 5s}",
        "medium": "server: {timeout_graceful_shutdown: null, drain: 5s}",
        "low": "server: {log_level: debug, drain: 5s}",
    }[severity]
    text = f"manifest: 1\napp: {{openapi: {{path: null}}}}\n{section}\n"
    write(tmp_path, {"prod.yaml": text, "pyproject.toml": ""})
    outcome = run("audit", "prod.yaml", "--fail-on", bar, "--format", "json", folder=tmp_path)
    found = json.loads(outcome.out)["findings"]
    assert {one["severity"] for one in found} == {severity}
    assert outcome.status == status


def test_what_could_not_be_judged_is_never_clean(tmp_path: Path) -> None:
    write(tmp_path, {"bad.yaml": "manifest: 1\nserverr: {}\n", "dev.yaml": "manifest: 1\n"})
    outcome = run("audit", "bad.yaml", "dev.yaml", folder=tmp_path)
    assert outcome.status == 2
    assert "error[unknown-key]" in outcome.err
    assert "error: bad.yaml could not be judged" in outcome.err
    unknown = "unknown: bad.yaml could not be judged\n"
    assert outcome.out == f"dev.yaml as dev: clean\n{unknown}"
    for names in (["bad.yaml", "dev.yaml"], ["bad.yaml"]):
        for form in ("json", "sarif", "github", "gitlab"):
            outcome = run("audit", *names, "--format", form, folder=tmp_path)
            assert outcome.status == 2
            assert "bad.yaml could not be judged" in outcome.out
            assert "unknown" in outcome.out
            if form == "json":
                assert json.loads(outcome.out)["worst"] == "unknown"


def test_only_what_is_new_against_a_commit_fails_a_gate_of_new_findings(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    base = "manifest: 1\nserver: {reload: true}\nstartup: [{database: '${resources.db}', sql: [{label: a, file: a.sql}]}]\nresources: {db: {use: a.b}}\n"
    write(tmp_path, {"prod.yaml": base, "a.sql": "SELECT 1"})
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True, timeout=100)
    audit_new = ("audit", "prod.yaml", "--base", "HEAD", "--new")
    done = run(*audit_new, folder=tmp_path)
    assert done.status == 0
    assert "new: nothing" in done.out
    assert run("audit", "prod.yaml", "--base", "HEAD", folder=tmp_path).status == 1
    write(tmp_path, {"prod.yaml": f"# a line more\n{base}"})
    assert run(*audit_new, folder=tmp_path).status == 0
    write(tmp_path, {"a.sql": "DROP TABLE users"})
    done = run(*audit_new, "--format", "json", folder=tmp_path)
    new = [one["rule"] for one in json.loads(done.out)["findings"] if one["new"]]
    assert (done.status, new) == (1, ["destroys-data", "drop-if-exists"])
    write(
        tmp_path, {"a.sql": "SELECT 1", "other/prod.yaml": "manifest: 1\nserver: {reload: true}\n"}
    )
    assert run("audit", "other/prod.yaml", "--base", "HEAD", "--new", folder=tmp_path).status == 1
    assert run("audit", "prod.yaml", "--new", folder=tmp_path).status == 2


def test_no_code_runs_and_no_variable_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "shop.py": "raise SystemExit('imported')\n",
            "dev.yaml": 'manifest: 1\nroutes: [{use: shop.api, with: {a: "${NOT_SET}"}}]\n',
        },
    )
    outcome = run("audit", "dev.yaml", folder=tmp_path)
    assert outcome.status == 0
    assert "imported" not in outcome.out + outcome.err


def test_findings_that_manifests_share_by_their_base_are_told_once(tmp_path: Path) -> None:
    base = "manifest: 1\nserver: {reload: true}\n"
    write(
        tmp_path,
        {
            "base.yaml": base,
            "prod-a.yaml": "manifest: 1\nextends: base.yaml\n",
            "prod-b.yaml": "manifest: 1\nextends: base.yaml\n",
        },
    )
    outcome = run("audit", "prod-a.yaml", "prod-b.yaml", folder=tmp_path)
    assert outcome.out.count("high[reload-on]") == 1
    assert outcome.out.count("1 high") == 2


def test_rules_are_stable_words_with_a_sentence_and_a_fix() -> None:
    for name, rule in {**RULES, **OF_SUPPRESSIONS}.items():
        assert name == rule.id
        assert name.replace("-", "").isalpha()
        assert rule.why
        assert not rule.why.endswith(".")
        assert rule.fix
        assert rule.severity in SEVERITIES
        assert rule.profiles <= EVERYWHERE
    assert len(RULES) >= 70


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_manifests_are_clean_under_their_profile(path: Path) -> None:
    if path.stem == "base":
        return  # no environment by itself
    document, manifest = load_shape(path)
    report = audit(document, manifest, profile_of(path), today=TODAY)
    assert [render(finding) for finding in report.findings] == []


SECRETS = [
    "resources: {db: {use: a.b, with: {url: 'postgresql://u:canary@h/d'}}}",
    "resources: {db: {use: a.b, with: {url: 'postgresql://u:ca\"nary@h/d?password=canary'}}}",
    "resources: {db: {use: a.b, with: {password: canary}}}",
    'resources: {db: {use: a.b, with: {api_key: "can\\x61ry"}}}',
    "resources: {db: {use: a.b, with: {secrets: [canary, 'canary']}}}",
    "resources: {db: {use: a.b, with: {headers: {Authorization: Bearer canary}}}}",
    'resources: {db: {use: a.b, with: {token: "${TOKEN:-canary}", debug: true}}}',
    'resources: {db: {use: a.b, with: {pin: "${API_TOKEN:-canary}", debug: true}}}',
    "resources:\n  db:\n    use: a.b\n    with:\n      secret: |\n        canary\n        canary",
    "resources:\n  db:\n    use: a.b\n    with:\n      secret: >-\n        canary\n\n        canary",
    f"resources: {{db: {{use: a.b, with: {{model: {KEY}}}}}}}",
    f'resources: {{db: {{use: a.b, with: {{model: "{KEY.replace("-", chr(92) + "x2d", 1)}"}}}}}}',
    "app: {description: 'see https://u:canary@h/x?token=canary'}",
    "server: {ssl_keyfile_password: canary, reload: true}",
    "logging: {version: 1, handlers: {a: {class: x.Y, secret_key: canary}}}",
    "scheduler: {jobs: [{use: a.b, every: 5s, with: {webhook_secret: canary}}]}",
]
SQL = "resources: {db: {use: a.b}}\nstartup: [{database: '${resources.db}', sql: [{label: a, run: "
SECRETS += [SQL + "\"CREATE ROLE a PASSWORD 'canary'\"}]}]"]


@pytest.mark.parametrize("profile", sorted(EVERYWHERE))
@pytest.mark.parametrize("text", SECRETS)
def test_no_form_of_a_report_shows_a_secret(tmp_path: Path, text: str, profile: Profile) -> None:
    report = audited(tmp_path, f"manifest: 1\n{text}\n", profile)
    forms = [
        as_text([report], color=True),
        json.dumps(as_dict([report])),
        as_github(map(result_of, report.findings)),
    ]
    forms.append(as_sarif([report]))
    assert "can" + "ary" not in "".join(forms)
    if profile == "prod":
        assert report.trips("high") or "description" in text


WORDS = st.sampled_from(
    [
        *(
            "starlette.middleware.cors.CORSMiddleware",
            "slowapi.middleware.SlowAPIMiddleware",
            "a.B",
        ),
        *(
            "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware",
            "starsessions.SessionMiddleware",
        ),
        *(
            "piccolo_api.csp.middleware.CSPMiddleware",
            "a.Gate",
            "a.memory_cache",
            "a.engine",
            "starlette.middleware.trustedhost.TrustedHostMiddleware",
        ),
        *("redis.asyncio.Redis", "app.dev_issuer.authorization_server", "a.mcp", "a.auth.login"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [
            *("*", "", "null", "http://x", "http://[", "${X}", "${X:-*}", "${X:-1e999}", "$$"),
            *("0.0.0.0/0", "1h", "0s", "max-age=1", "sqlite://", "${resources.a}", "none", "/*"),
        ]
    )
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
OPTIONS = st.dictionaries(
    st.sampled_from(
        [
            *("allow_origins", "allow_origin_regex", "allow_credentials", "allowed_hosts", "limit"),
            *("exempt", "routes", "store", "key", "hsts", "csp", "debug", "url", "pool_size"),
            *("max_overflow", "secrets", "jwt_secret", "algorithms", "https_only", "same_site"),
            *("trust", "allow", "paths", "timeout", "max_bytes", "resource_server", "issuer"),
            *("verify", "access_token_lifetime", "trusted_hosts", "on_store_error", "password"),
        ]
    ),
    VALUES,
    max_size=4,
)
ENTRY = st.fixed_dictionaries({"use": WORDS, "with": OPTIONS})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    resources=st.dictionaries(st.sampled_from(["a", "b"]), ENTRY, max_size=2),
    middleware=st.lists(ENTRY, max_size=3, unique_by=lambda entry: str(entry["use"])),
    routes=st.lists(ENTRY, max_size=2, unique_by=lambda entry: str(entry["use"])),
    jobs=st.lists(ENTRY, max_size=2, unique_by=lambda entry: str(entry["use"])),
    server=st.dictionaries(
        st.sampled_from(["reload", "forwarded_allow_ips", "log_level", "uds"]), VALUES, max_size=3
    ),
    workers=st.integers(1, 9) | st.just("${WORKERS}") | st.just("${WORKERS:-4}"),
    profile=st.sampled_from(sorted(EVERYWHERE)),
)
def test_the_audit_judges_every_valid_manifest(
    resources: Any,
    middleware: Any,
    routes: Any,
    jobs: Any,
    server: Any,
    workers: Any,
    profile: Profile,
) -> None:
    manifest = {
        "manifest": 1,
        "resources": resources,
        "middleware": middleware,
        "routes": routes,
        "scheduler": {"jobs": [{**job, "every": "5s"} for job in jobs]},
        "server": {**server, "workers": workers},
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = audited(Path(folder), json.dumps(manifest), profile)
        except ManifestError:  # a reference that cannot be read, a text with a control character
            return
        forms = [as_text([report]), json.dumps(as_dict([report])), as_sarif([report])]
        forms.append(as_github(map(result_of, report.findings)))
    assert all(char.isprintable() or char == "\n" for form in forms for char in form)


def test_hostile_names_forge_no_line(tmp_path: Path) -> None:
    name = "x\\n::error::forged\\e[31m\\u202e](https://evil/example)"
    text = f'manifest: 1\nmiddleware: [{{id: "{name}", use: starlette.middleware.cors.CORSMiddleware, with: {{allow_origins: ["*"]}}}}]\n'
    report = audited(tmp_path, text)
    shown = as_text([report])
    assert "\\u000a::error::forged\\u001b" in shown
    for form in (shown, as_github(map(result_of, report.findings)), as_sarif([report])):
        assert not any(line.startswith("::error::") for line in form.splitlines())
        assert all(char.isprintable() or char == "\n" for char in form)
    assert "](" not in json.dumps(json.loads(as_sarif([report]))["runs"][0]["results"])


def test_a_class_of_ones_own_that_says_nothing_is_told_nothing(tmp_path: Path) -> None:
    session = "class Session:\n    %s\n    def __init__(self, app, *, https_only=False): ...\n"
    text = "manifest: 1\nmiddleware: [{use: shop.Session}]\n"
    for says, found in (("", False), ("layer_role = 'session'", True)):
        with project(tmp_path, {"shop.py": session % says}):
            assert ("session-cookie-insecure" in broken(audited(tmp_path, text))) is found


def test_a_session_layer_without_the_option_is_not_asked_for_it(tmp_path: Path) -> None:
    session = "class Session:\n    layer_role = 'session'\n    def __init__(self, app, *, cookie_https_only=True): ...\n"
    with project(tmp_path, {"shop.py": session}):
        report = audited(tmp_path, "manifest: 1\nmiddleware: [{use: shop.Session}]\n")
    assert not any(rule.startswith("session-") for rule in broken(report))


def test_what_no_layer_does_may_be_done_by_one_that_says_nothing(tmp_path: Path) -> None:
    text = "manifest: 1\nmiddleware: [{use: shop.Mine}]\nroutes: [{use: shop.router}]\n"
    (found,) = (one for one in audited(tmp_path, text).findings if one.rule == "no-rate-limit")
    assert '`layer_role = "limiter"`' in found.fix


ROUTER = "from fastapi import APIRouter\nrouter = APIRouter(prefix='/users')\n@router.post('%s')\ndef one(): ...\n"


@pytest.mark.parametrize(
    ("use", "source", "limits"),
    [
        ("token_prices.router", ROUTER % "/price", False),
        ("auth.router", ROUTER % "/avatar", False),
        ("people.router", ROUTER % "/login", True),
        ("sessions.router", "raise SystemExit", False),
    ],
)
def test_a_router_logs_users_in_by_its_paths_and_not_by_its_name(
    tmp_path: Path, use: str, source: str, limits: bool
) -> None:
    with project(tmp_path, {f"{use.partition('.')[0]}.py": source}):
        found = broken(audited(tmp_path, f"manifest: 1\nroutes: [{{use: {use}, prefix: /v1}}]\n"))
    assert ("login-unlimited" in found) is limits


@pytest.mark.parametrize(("path", "all_paths"), [("/", False), ("/*", True), ("*", True)])
def test_only_a_pattern_that_matches_everything_exempts_everything(
    tmp_path: Path, path: str, all_paths: bool
) -> None:
    text = f"manifest: 1\nmiddleware: [{{use: shop.Mine, with: {{exempt: ['{path}']}}}}]\n"
    assert ("exempts-everything" in broken(audited(tmp_path, text))) is all_paths


def test_a_pool_of_threads_takes_no_connections(tmp_path: Path) -> None:
    text = "manifest: 1\nresources: {threads: {use: a.threads.pool}}\nserver: {workers: 9}\n"
    assert "pools-exceed-database" not in broken(audited(tmp_path, text))


def test_a_pool_that_keeps_nothing_counts_once(tmp_path: Path) -> None:
    text = "manifest: 1\nresources: {db: {use: a.engine, with: {url: '${U}', pool: none}}}\n"
    assert "pool-in-serverless" not in broken(audited(tmp_path, text, "serverless"))


ADMIN = "{mount: /admin, use: parts.admin.app}"


def guarded(folder: Path, paths: str, more: str = "", entry: str = ADMIN) -> bool:
    manifest = (
        "manifest: 1\nmiddleware:\n"
        "  - use: components.middleware.ip_allow_list.IPAllowListMiddleware\n"
        f"    with: {{allow: [10.0.0.0/8], paths: {paths}{more}}}\n"
        f"routes:\n  - {entry}\n"
    )
    return "open-mount" not in broken(audited(folder, manifest))


@pytest.mark.parametrize(
    ("paths", "more", "is_guarded"),
    [
        ('["/admin/*"]', "", True),
        ('["/*"]', "", True),
        ("[]", "", True),
        ("[/admin]", "", False),
        ('["POST /admin/*"]', "", False),
        ('["/admin/x/*"]', "", False),
        ('["/administer/*"]', "", False),
        ('["/admin/*"]', ', exempt: ["/admin/*"]', False),
        ('["/admin/*"]', ", exempt: [/admin]", False),
    ],
)
def test_a_mount_is_guarded_where_all_of_it_is(
    tmp_path: Path, paths: str, more: str, is_guarded: bool
) -> None:
    assert guarded(tmp_path, paths, more) is is_guarded


@pytest.mark.parametrize(
    ("entry", "is_guarded"),
    [
        ("{use: parts.admin.router, prefix: /admin}", False),
        ("{frontend: dist/admin, prefix: /admin}", False),
        ("{path: /admin, use: parts.admin.page}", True),
    ],
)
def test_what_answers_beneath_a_prefix_is_not_guarded_by_the_prefix_alone(
    tmp_path: Path, entry: str, is_guarded: bool
) -> None:
    assert guarded(tmp_path, "[/admin]", entry=entry) is is_guarded
    assert guarded(tmp_path, '["/admin/*"]', entry=entry)


def test_a_page_of_metrics_is_guarded_at_its_prefix(tmp_path: Path) -> None:
    entry = "{use: parts.admin.router, prefix: /admin/metrics}"
    assert guarded(tmp_path, '["/admin/metrics"]', entry=entry)


@pytest.mark.parametrize(
    ("use", "is_probe"), [("shop.live.router", False), ("shop.health.router", True)]
)
def test_what_is_live_is_no_probe_by_that_word(tmp_path: Path, use: str, is_probe: bool) -> None:
    limiter = "{use: slowapi.middleware.SlowAPIMiddleware, with: {limit: 5/minute}}"
    text = f"manifest: 1\nmiddleware: [{limiter}]\nroutes: [{{use: {use}, prefix: /v1}}]\n"
    found = broken(audited(tmp_path, text))
    assert ("limiter-counts-probes" in found) is is_probe
    assert ("no-health-route" in found) is not is_probe


MOUNTED = {
    "prod.yaml": """
manifest: 1
resources: {shared: {use: stack.memory_store}}
middleware: [{use: stack.Proxy}, {use: stack.Headers}, {use: stack.Gate}]
routes: [{mount: /api, manifest: api.yaml}, {mount: /admin, manifest: admin.yaml}]
server: {workers: 2, drain: 5s}
audit: {suppress: [{rule: docs-in-production, reason: they are public, until: "2028-01-01"}]}
""",
    "api.yaml": """
manifest: 1
app: {openapi: {docs: null, redoc: null}}
middleware: [{id: limit, use: stack.Limit, with: {store: "${resources.shared}"}}]
routes: [{use: stack.router}]
scheduler: {jobs: [{id: daily, use: stack.job, every: 24h}]}
background: [{id: poll, use: stack.job}]
""",
    "admin.yaml": """
manifest: 1
resources: {own: {use: stack.engine, with: {url: "postgresql://u:canary@db/x", pool_size: 60}}}
routes: [{mount: /mcp, use: stack.tools}, {use: stack.router}]
""",
    "stack.py": """
from typing import Any
class Proxy:
    layer_role = "proxy"
    def __init__(self, app): ...
class Headers:
    layer_role = "security-headers"
    def __init__(self, app): ...
class Gate:
    layer_role = "auth"
    def __init__(self, app): ...
class Limit:
    layer_role = "limiter"
    def __init__(self, app, *, store=None): ...
def memory_store(): ...
def engine(url: str, pool_size: int): ...
def router(): ...
def tools(): ...
def job(): ...
""",
}


def mounted(folder: Path) -> list[tuple[str, str, str]]:
    with project(folder, MOUNTED):
        document, manifest = load_shape("prod.yaml")
        report = audit(document, manifest, "prod", today=TODAY, imports=EVERYTHING)
    assert "canary" not in "".join(map(render, report.findings))
    return [(one.rule, one.span.file.name, one.message) for one in report.findings]


def test_a_manifest_that_is_mounted_is_judged_inside_the_one_around_it(tmp_path: Path) -> None:
    found = mounted(tmp_path)
    assert ("literal-secret", "admin.yaml") in {one[:2] for one in found}
    assert (
        "limiter-in-memory",
        "api.yaml",
        "2 workers, and `limit` counts in each of them",
    ) in found
    assert ("pools-exceed-database", "admin.yaml", "the pools of one database may open 140 connections") in found  # fmt: skip
    assert ("loop-in-every-worker", "api.yaml", "2 workers, and each of them runs the loop `poll`") in found  # fmt: skip
    assert [one[1] for one in found if one[0] == "jobs-in-every-worker"] == ["api.yaml"]
    # A layer outside counts for all, one inside for its own manifest.
    assert [one[1] for one in found if one[0] == "no-rate-limit"] == ["admin.yaml"]
    rules = {one[0] for one in found}
    assert rules.isdisjoint({"no-security-headers", "open-mount", "limiter-without-proxy"})
    assert rules.isdisjoint({"docs-in-production", "no-drain"})
    assert [one[1] for one in found if one[0] == "no-health-route"] == ["prod.yaml"]
