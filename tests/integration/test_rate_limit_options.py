"""A manifest's options of the rate limit: what is checked before anything starts."""

from pathlib import Path

import pytest

from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import Plan, load
from tests.assembler.project import project

CODE = "def tenant(scope): ...\n"
LIST = '[tool.assembler]\nimports = ["shop", "components"]\n'
USE = "components.middleware.rate_limit.RateLimitMiddleware"


def planned(folder: Path, options: str) -> Plan:
    manifest = f"manifest: 1\nmiddleware: [{{use: {USE}, with: {options}}}]\n"
    files = {"manifest.yaml": manifest, "shop.py": CODE, "pyproject.toml": LIST}
    for name, content in files.items():
        (folder / name).write_text(content)
    with project(folder, {}):
        return load("manifest.yaml")


def test_a_key_is_a_function_of_ones_own(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{limit: 500/minute, key: shop.tenant}")
    arguments, _ = plan.middleware[0].options.arguments({})
    assert arguments["key"].__name__ == "tenant"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("{limit: 5/minute, key: os.system}", "import-not-allowed", "`os.system` is outside"),
        ("{limit: 5/minute, key: shop.tenent}", "attribute-not-found", "has no `tenent`"),
        ("{limit: 5/minute, key: ip}", "bad-value", "must be text that matches"),
        ("{limit: 500 per min}", "bad-value", "`500 per min` is no rate"),
        ("{limit: [1/minute, 2/minute]}", "bad-value", "have the same period"),
    ],
)
def test_what_cannot_be_is_refused_by_the_check(
    options: str, code: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(tmp_path, options)
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert message in fault.message
