"""Versions → what is known against them, from tables that hold together."""

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from assembler.describe.versions import (
    ADVISORIES,
    PAIRS,
    Advisory,
    Pair,
    Trouble,
    installed,
    required,
    troubles,
)


def found(python: str = "3.12.1", **versions: str) -> list[Trouble]:
    named = {name.replace("_", "-"): text for name, text in versions.items()}
    return troubles(named, python=python, required=lambda name: [])


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda each: f"{each.id} {each.affected}")
def test_the_mended_version_is_the_first_that_an_advisory_does_not_affect(
    advisory: Advisory,
) -> None:
    affected = Requirement(advisory.affected)
    mended = Version(advisory.mended)
    assert not affected.specifier.contains(mended)
    bounds = {item.operator: Version(item.version) for item in affected.specifier}
    assert bounds.get("<", mended) == mended or "==" in bounds
    assert bounds.get(">=", Version("0")) < mended


@pytest.mark.parametrize("pair", PAIRS, ids=lambda each: f"{each.one} {each.other}")
def test_what_mends_a_pair_is_not_in_it(pair: Pair) -> None:
    mended = Requirement(pair.mended)
    broken = {Requirement(text).name: text for text in (pair.one, pair.other)}
    first = next(item.version for item in mended.specifier)
    is_bound = next(item.operator for item in mended.specifier) == ">="
    held = Requirement(broken[mended.name]).specifier.contains(Version(first))
    assert held is not is_bound
    assert pair.source.startswith("https://github.com/")


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({"starlette": "0.49.1"}, ["CVE-2026-48710", "CVE-2026-54283"]),
        ({"starlette": "1.3.1"}, []),
        ({"pyjwt": "2.10.0"}, ["CVE-2024-53861", "CVE-2026-32597", "CVE-2026-48526"]),
        ({"pyjwt": "2.13.0"}, []),
        ({"h11": "0.14.0"}, ["CVE-2025-43859"]),
        ({"python_multipart": "0.0.29"}, ["CVE-2026-53539"]),
        ({"h11": "no version at all"}, []),
        ({}, []),
    ],
    ids=str,
)
def test_an_advisory_is_told_of_the_versions_that_it_affects(
    versions: dict[str, str], told: list[str]
) -> None:
    assert [each.source for each in found(**versions) if each.kind == "advisory"] == told


@pytest.mark.parametrize(
    ("python", "versions", "mended"),
    [
        ("3.12.1", {"typer": "0.15.3", "click": "8.2.0"}, ["typer>=0.16"]),
        ("3.12.1", {"typer": "0.15.3", "click": "8.1.8"}, []),
        ("3.12.1", {"typer": "0.16.0", "click": "8.5.1"}, []),
        ("3.12.1", {"click": "8.5.1"}, []),
        ("3.13.0", {"sqlalchemy": "2.0.27"}, ["sqlalchemy>=2.0.31"]),
        ("3.12.9", {"sqlalchemy": "2.0.27"}, []),
        ("3.12.1", {"passlib": "1.7.4", "bcrypt": "5.0.0"}, ["bcrypt<5"]),
        ("3.12.1", {"slowapi": "0.1.10", "fastapi": "0.137.0"}, ["fastapi<0.137"]),
        ("3.12.1", {"slowapi": "0.1.10", "fastapi": "0.136.3"}, []),
        ("3.12.1", {"slowapi": "0.1.11", "fastapi": "0.165.0"}, []),
    ],
)
def test_a_pair_is_told_where_both_are_there(
    python: str, versions: dict[str, str], mended: list[str]
) -> None:
    assert [each.mended for each in found(python, **versions) if each.kind == "pair"] == mended


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("starlette<0.42.0,>=0.40.0", True),
        ("starlette>=0.40.0", False),
        ('starlette<0.42; extra == "old"', False),
        ('starlette<0.42; python_version < "3"', False),
        ("Starlette <0.42", True),
        ("nothing-that-is-there>9", False),
        ("no requirement at all !!", False),
    ],
)
def test_a_requirement_that_is_not_met_is_a_conflict(line: str, is_told: bool) -> None:
    versions = {"fastapi": "0.115.3", "starlette": "1.3.1"}
    requires = {"fastapi": [line]}
    told = troubles(versions, python="3.12.1", required=lambda name: requires.get(name, []))
    assert [each.source for each in told if each.kind == "conflict"] == ["fastapi"] * is_told


def test_nothing_is_in_conflict_in_the_environment_of_the_tests() -> None:
    versions = installed()
    told = troubles(versions, python="3.12.1", required=required)
    assert [each for each in told if each.kind == "conflict"] == []
    assert "fastapi" in versions
    assert installed(["a-package-that-nobody-has"]) == {}
    assert required("a-package-that-nobody-has") == []
