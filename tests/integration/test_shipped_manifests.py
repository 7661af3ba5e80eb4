"""The manifests of this repository: read by source alone they say what they say when imported."""

from pathlib import Path

import pytest

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
