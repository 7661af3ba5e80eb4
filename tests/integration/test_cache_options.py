"""A cache in a manifest: what is checked, and that it may be a rate limit's store."""

from pathlib import Path

import pytest

import assembler
from assembler.diagnostics.errors import ManifestError
from tests.assembler.project import project

LIST = '[tool.assembler]\nimports = ["components"]\n'
LIMIT = "components.middleware.rate_limit.RateLimitMiddleware"


def planned(folder: Path, resource: str) -> assembler.Plan:
    manifest = (
        f"manifest: 1\nresources:\n  cache: {resource}\nmiddleware:\n"
        f"  - {{use: {LIMIT}, with: {{limit: 5/minute, store: '${{resources.cache}}'}}}}\n"
    )
    for name, content in {"manifest.yaml": manifest, "pyproject.toml": LIST}.items():
        (folder / name).write_text(content)
    with project(folder, {}):
        return assembler.load("manifest.yaml")


@pytest.mark.parametrize(
    "resource",
    [
        "{use: components.cache.memory_cache}",
        "{use: components.cache.redis_cache, with: {url: 'redis://h', timeout: 100ms}}",
    ],
)
def test_a_cache_is_a_store_of_the_rate_limit(resource: str, tmp_path: Path) -> None:
    assembler.build(planned(tmp_path, resource))


@pytest.mark.parametrize(
    ("resource", "code", "message"),
    [
        ("{use: components.cache.redis_cache}", "missing-option", "`url`"),
        (
            "{use: components.cache.memory_cache, with: {max_entries: 0}}",
            "bad-value",
            "`max_entries`",
        ),
        (
            "{use: components.cache.memory_cache, with: {default_ttl: 5}}",
            "bad-value",
            "`default_ttl`",
        ),
        (
            "{use: components.database.engine, with: {url: 'sqlite://'}}",
            "bad-value",
            "`Store`",
        ),
        (
            "{use: components.database.engine, with: {url: 'sqlite://', pool: queu}}",
            "bad-value",
            "`pool`",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_the_check(
    resource: str, code: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(tmp_path, resource)
    fault = caught.value.diagnostics[0]
    assert fault.code == code
    assert message in fault.message
