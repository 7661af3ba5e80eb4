"""Twenty questions of a newcomer, answered at the prompt; and what `describe` refuses."""

import json
from pathlib import Path

import pytest

from tests.assembler.command import PROJECT, run

ROOT = Path(__file__).parents[3]

QUESTIONS = [
    ("which limiter options are there?", "describe RateLimitMiddleware", "on_store_error"),
    ("what may I write for a limit?", "describe RateLimitMiddleware.limit", "500/minute"),
    ("may one route be limited tighter?", "describe RateLimitMiddleware.routes", "POST /api/v1"),
    ("who answers 429?", "components 429", "rate_limit.RateLimitMiddleware"),
    ("how do I get a request ID into my logs?", "components request id", "RequestIDMiddleware"),
    (
        "what is logged of a request?",
        "describe RequestLoggingMiddleware",
        "the longest text of a field",
    ),
    ("what does `on_error: degrade` mean?", "describe resources.on_error", "readiness says so"),
    ("how do I let my pages call the API?", "components cors", "CORSMiddleware"),
    (
        "how do I write that?",
        "describe components.middleware.cors.CORSMiddleware --snippet",
        "use:",
    ),
    ("what may stand in `routes`?", "components --section routes", "components.health.router"),
    ("which keys does a job have?", "describe scheduler.jobs", "on_crash"),
    ("what happens to a tick that overlaps?", "describe scheduler.jobs.overlap", "skips it"),
    ("what is `unknown-option`?", "describe unknown-option", "no such parameter"),
    ("why is my limiter in memory graded high?", "describe limiter-in-memory", "each process"),
    (
        "how long is a readiness check waited for?",
        "describe components.health.router.timeout",
        "1s",
    ),
    ("what do I install for Redis?", "components redis_cache", "extra redis"),
    ("how often are calls tried again?", "describe components.clients.http.client.retries", "2"),
    ("which security headers are sent?", "describe SecurityHeadersMiddleware", "X-Frame-Options"),
    (
        "which metrics has the limiter?",
        "describe RateLimitMiddleware",
        "rate_limit_decisions_total",
    ),
    ("on which port does it listen?", "describe server.port", "8000"),
]


@pytest.mark.parametrize(("question", "command", "answer"), QUESTIONS, ids=lambda item: item)
def test_a_newcomers_question_is_answered_at_the_prompt(
    question: str, command: str, answer: str
) -> None:
    shown = run(*command.split(), folder=ROOT)
    assert (shown.status, shown.err) == (0, "")
    assert answer in shown.out


def test_there_are_twenty_questions() -> None:
    assert len({question for question, _, _ in QUESTIONS}) == 20


def test_a_component_is_told_with_the_audit_and_its_uses() -> None:
    shown = run("describe", "RateLimitMiddleware", "--format", "json", folder=ROOT)
    facts = json.loads(shown.out)
    assert facts["path"] == "components.middleware.rate_limit.RateLimitMiddleware"
    assert facts["sections"] == ["middleware"]
    assert facts["role"] == "limiter"
    assert facts["metrics"] == ["rate_limit_decisions_total"]
    assert {use["at"].partition(":")[0] for use in facts["used"]} >= {"manifests/base.yaml"}
    assert any("[limiter-in-memory]" in text for text in facts["audit"])
    limit = next(option for option in facts["options"] if option["name"] == "limit")
    assert (limit["required"], limit["looser"]) == (True, "higher")


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("RateLimitMidleware", "did you mean `RateLimitMiddleware`?"),
        ("RateLimitMiddleware.limt", "has no option `limt`: did you mean `limit`?"),
        ("unknwon-option", "did you mean `unknown-option`?"),
        ("jbos", "did you mean `jobs`?"),
        ("nowhere.Thing", "`assembler components WORDS` finds components"),
        ("", "nothing is called ``"),
        ("..", "nothing is called `..`"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(topic: str, message: str) -> None:
    shown = run("describe", topic, folder=ROOT)
    assert (shown.status, shown.out) == (2, "")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_a_module_says_what_it_is_and_what_it_has() -> None:
    shown = run("describe", "components.errors", folder=ROOT)
    assert (shown.status, shown.err) == (0, "")
    assert "components.errors.http_exception  `HTTPException`" in shown.out
    facts = json.loads(run("describe", "components.errors", "--format", "json", folder=ROOT).out)
    assert facts["description"].splitlines()[0] in shown.out
    assert "components.errors.http_exception" in facts["components"]
    shown = run("describe", "components.errors", "--snippet", folder=ROOT)
    assert (shown.status, shown.out) == (2, "")
    assert "is a module: name one of" in shown.err


@pytest.mark.parametrize(
    ("word", "first", "more"),
    [
        ("overlap", "scheduler.jobs.overlap", "skips it"),
        ("drain", "server.drain", "after SIGTERM"),
        ("on_error", "resources.on_error", "startup.on_error\n    `fail` | `degrade` | `warn`  "),
        ("timeout", "resources.timeout", "components.cache.redis_cache.timeout\n    a duration  "),
        ("on_store_error", "components.middleware.rate_limit.RateLimitMiddleware.", "`local`"),
        (
            "hsts",
            "components.middleware.security_headers.SecurityHeadersMiddleware.hsts",
            "max-age",
        ),
    ],
)
def test_a_key_is_told_by_its_name_alone(word: str, first: str, more: str) -> None:
    shown = run("describe", word, folder=ROOT)
    assert shown.status == 0, shown.err
    assert shown.out.startswith(first)
    assert more in shown.out


def test_what_has_no_name_is_searched_for() -> None:
    shown = run("describe", "429", folder=ROOT)
    assert (
        shown.err == "error: nothing is called `429`: `assembler components 429` finds components\n"
    )


def test_a_word_that_fits_nothing_gives_status_1() -> None:
    shown = run("components", "xyzzyplugh", folder=ROOT)
    assert (shown.status, shown.out) == (1, "")
    assert "nothing fits" in shown.err


def test_a_section_that_the_format_has_not_is_refused() -> None:
    shown = run("components", "--section", "middlewares", folder=PROJECT)
    assert shown.status == 2
    assert "there is no section `middlewares`" in shown.err


def test_the_session_of_the_readme_is_what_the_command_prints(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    session = readme.partition("## Asking at the prompt")[2].partition("```console\n")[2]
    calls = session.partition("```")[0].split("$ assembler ")[1:]
    assert len(calls) == 4
    for call in calls[:3]:
        line, _, expected = call.partition("\n")
        assert run(*line.partition(" | ")[0].split(), folder=ROOT).out == expected
    manifest = tmp_path / "manifests/shop.yaml"
    manifest.parent.mkdir()
    manifest.write_text("manifest: 1\napp: {title: Shop}\n" + calls[2].partition("\n")[2])
    line, _, expected = calls[3].partition("\n")
    assert run(*line.split(), folder=tmp_path).out == expected
