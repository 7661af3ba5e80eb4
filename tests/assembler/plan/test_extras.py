"""Extras: which of them brings a module, and what is said to whom it lacks."""

import subprocess
import sys
from types import ModuleType

import pytest

import components.cache
from assembler.plan.extras import extra_of, remedy_for


@pytest.mark.parametrize(
    ("imports", "extra"),
    [
        (["redis"], "redis"),
        (["sqlalchemy"], "sql"),
        (["sentry_sdk"], "sentry"),
        (["httpx2"], "clients"),
        (["jwt", "httpx2"], "clients"),
        (["mcp", "sqlalchemy"], "mcp,sql"),
        (["fastapi", "starlette"], None),
        ([], None),
    ],
)
def test_the_smallest_extras_that_bring_it_are_told(imports: list[str], extra: str | None) -> None:
    assert extra_of(imports) == extra


WITHOUT = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pytest", "mangum", "redis"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
"""


def run_without(code: str) -> str:
    """Run code where some packages are not installed; return what it prints."""
    words = [sys.executable, "-c", WITHOUT + code]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return ended.stdout + ended.stderr


def test_who_lacks_an_extra_is_told_its_name() -> None:
    said = run_without("""
import assembler.testing.expect.run
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import import_object
try:
    import_object("components.rate_limit.redis.RedisStore", ImportList(None, None))
except ImportFault as fault:
    print(fault.message, "|", fault.help)
import assembler.aws_lambda
""")
    assert "No module named 'redis' | pip install 'fastapi-assembler[redis]'" in said
    assert said.endswith("the handler needs Mangum: pip install 'fastapi-assembler[serverless]'\n")


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (ModuleNotFoundError("x", name="redis"), "elsewhere.part"),  # it has extras of its own
        (ModuleNotFoundError("x", name="nobody_has_this"), "components.cache"),
        (ImportError("x", name="redis"), "components.cache"),
        (KeyError("redis"), "components.cache"),
    ],
)
def test_what_no_extra_mends_has_no_remedy(
    error: Exception, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert components.cache.__file__  # so that its package is known
    elsewhere = ModuleType("elsewhere")
    elsewhere.__path__ = ["/somewhere/elsewhere"]
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    assert remedy_for(error, module) is None
