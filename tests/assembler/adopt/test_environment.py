"""Other values of the same form, and the references that two runs tell."""

import functools
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import computed_field
from pydantic_settings import BaseSettings

from assembler.adopt.comparisons import Comparisons
from assembler.adopt.environment import (
    ValueSource,
    default_at,
    read_settings,
    reference_for,
    turned,
    unvaried,
    variations,
    varied_text,
)
from assembler.adopt.naming import ImportPaths
from assembler.adopt.recording import NOWHERE, Composition


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Shop", "Shopb"),
        ("8000", "8001"),
        ("65535", "1024"),
        ("500/minute", "501/minute"),
        ("10s", "11s"),
        ("0 3 * * *", "1 3 * * *"),
        ("*/5 * * * *", None),
        ("https://api.example.com/v1?x=1", "https://b-api.example.com/v1?x=1"),
        ("postgresql://u:p@db:5432/x", "postgresql://u:p@b-db:5432/x"),
        ("redis://localhost:6379/0", "redis://localhost:6380/0"),
        ("sqlite+aiosqlite:///data.db", "sqlite+aiosqlite:///data.dbb"),
        ("Asia/Kolkata", "Europe/Paris"),
        ("INFO", "WARNING"),
        ("warning", "info"),
        ("a@example.com", "ba@example.com"),
        ('["a", "b"]', '["ab", "bb"]'),
        ("[]", '["b.example"]'),
        ("[1]", None),
        ("a,b", "ab,bb"),
        ("*", "b.example"),
        ("", None),
    ],
)
def test_another_value_has_the_same_form(text: str, other: str | None) -> None:
    assert varied_text(text) == other


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    assert varied_text(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("text", "other"),
    [("true", "false"), ("False", "True"), ("yes", "no"), ("off", "on"), ("1", "0")],
)
def test_a_switch_is_turned_in_its_own_words(text: str, other: str) -> None:
    assert turned(text) == other


def test_any_origin_is_varied_as_an_origin() -> None:
    assert varied_text("*", "CORS_ORIGINS") == "https://b.example"


def test_what_is_0_or_1_is_turned_but_for_numbers_of_settings() -> None:
    taken = {
        "settings": {
            "values": {"workers": {"value": 1}, "debug": {"value": True}},
            "variables": {
                name.lower(): {"variable": name, "choices": []} for name in ("WORKERS", "DEBUG")
            },
        },
        "environment": {"FLAG": "m.py:1", "EMPTY": "m.py:1", "UNSET": "m.py:1", "HOME": "m.py:1"},
    }
    environment = {"FLAG": "0", "DEBUG": "1", "EMPTY": "", "HOME": "/root"}
    main, *switches = variations(taken, environment)
    assert main.values == {"WORKERS": "2"}
    assert {each.switch: dict(each.values) for each in switches} == {
        "DEBUG": {"DEBUG": "0"},
        "FLAG": {"FLAG": "1"},
    }
    assert unvaried(taken, environment) == ["EMPTY", "UNSET"]


KNOWN = [
    ValueSource("settings.title", "Shop", "Shopb"),
    ValueSource("settings.origins", ["a", "b"], ["ab", "bb"]),
    ValueSource("settings.port", 8000, 8001),
    ValueSource("settings.secret", "s3cret", "s3cret", is_hidden=True),
    ValueSource("NAME:-x y", "x y", "x yb", is_variable=True),
    ValueSource("LIMIT", "5", "6", is_variable=True),
    ValueSource("HOSTS", "a, b", "ab,bb", is_variable=True),
    ValueSource("DEBUG", "true", "false", is_variable=True),
]


@pytest.mark.parametrize(
    ("first", "second", "reference"),
    [
        ("Shop", "Shopb", "${settings.title}"),
        (8000, 8001, "${settings.port}"),
        ("8000", "8001", "${settings.port}"),  # inside a text
        (["a", "b"], ["ab", "bb"], "${settings.origins}"),
        ("x y", "x yb", "${NAME:-x y}"),
        (5, 6, "${LIMIT}"),
        (True, False, "${DEBUG}"),
        ("The Shop at 8000", "The Shopb at 8001", "The ${settings.title} at ${settings.port}"),
        ("a $ and ${X} of Shop", "a $ and ${X} of Shopb", "a $ and $${X} of ${settings.title}"),
        ("key s3cret", "key s3cret", "key ${settings.secret}"),
        ("shop", "shopb", None),
        ("Shop", "other", None),
        (1, 2, None),
    ],
)
def test_a_reference_gives_both_values(
    first: object, second: object, reference: str | None
) -> None:
    assert reference_for(first, second, KNOWN) == reference


def test_of_references_that_give_both_values_one_gives_those_of_other_runs_too() -> None:
    known = [ValueSource("settings.is_local", True, False), ValueSource("settings.docs", True, False)]  # fmt: skip
    further = [ValueSource("settings.is_local", True, False), ValueSource("settings.docs", True, True)]  # fmt: skip
    assert reference_for(True, False, known) == "${settings.is_local}"
    assert reference_for(True, False, known, [(True, further)]) == "${settings.docs}"
    assert reference_for(True, False, known, [(False, further)]) == "${settings.is_local}"


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        ('ENV = os.getenv("STAGE", "dev")\nif ENV == "production": pass', ["production"]),
        ('if "prod" != os.environ["STAGE"].strip().lower(): pass', ["prod"]),
        (
            'ENV: str = config("STAGE")\nx = config.ENV in ("a", "b") or not ENV == "c"',
            ["a", "b", "c"],
        ),
        ('class C:\n    env = os.environ.get("STAGE")\n\nx = C().env.startswith("prod")', ["prod"]),
        ('match os.getenv("STAGE"):\n    case "a" | "b": pass\n    case _: pass', ["a", "b"]),
        ('if OTHER == "production": pass', []),
        ('if os.getenv("STAGE") == PRODUCTION or os.getenv("STAGE") == 1: pass', []),
    ],
)
def test_what_a_variable_is_compared_with_is_found(
    code: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compared_here.py").write_text(code)
    module = ModuleType("compared_here")
    module.__file__ = str(tmp_path / "compared_here.py")
    monkeypatch.setattr(sys, "modules", {"compared_here": module})
    assert Comparisons().of_variable("STAGE") == texts


def test_properties_of_settings_are_references_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(BaseSettings):
        stage: str = "dev"

        @computed_field  # type: ignore[prop-decorator]  # as pydantic says it
        @property
        def origins(self) -> list[str]:
            return [f"https://{self.stage}.example"]

        @property
        def is_production(self) -> bool:
            return self.stage == "production"

        @functools.cached_property
        def broken(self) -> str:
            raise LookupError

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "made_here", Settings(), raising=False)
    names = ImportPaths("elsewhere")
    found = read_settings(
        Composition(settings=[(vars(module)["made_here"], NOWHERE)]), names, Comparisons()
    )
    assert found is not None
    assert found["use"] == f"{__name__}.made_here"
    assert {name: said["value"] for name, said in found["values"].items()} == {
        "stage": "dev",
        "origins": ["https://dev.example"],
        "is_production": False,
    }
    assert found["variables"]["stage"]["compared"] == ["production"]


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ('X = os.getenv("PORT", "80")', "80"),
        ("X = int(os.environ.get('PORT', 80))", "80"),
        ('X = config("PORT", default="80")', "80"),
        ('X = os.getenv("PORT", "a,b (c)").split(",")', "a,b (c)"),
        ('X = os.getenv(\n    "PORT",\n    "8,0",\n)', "8,0"),
        ('X = field(default_factory=lambda: int(os.environ.get("PORT", "80")))', "80"),
        ('X = env.bool("PORT", default=False)', "false"),
        ('X = os.getenv("PORT") or "80"', "80"),
        ('X = os.getenv("PORT", "81") or "80"', "81"),
        ('X = os.getenv("OTHER", "81"), os.getenv("PORT", "80")', "80"),
        ('X = os.getenv("PORT") or other()', None),
        ('X = os.environ["PORT"]', None),
        ('X = os.getenv("PORT", other())', None),
    ],
)
def test_the_default_of_a_variable_is_read_where_it_stands(
    line: str, default: str | None, tmp_path: Path
) -> None:
    (tmp_path / "m.py").write_text(f"\n{line}\n")
    assert default_at("PORT", f"{tmp_path}/m.py:2") == default
