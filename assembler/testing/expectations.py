"""A manifest → a test that fails where its application does not give what `expect` says.

In: what `Assembled` takes. Out: the results of all requests, for a test that wants more of them.
Refuses what `assembler test` refuses; the failure shows each fault at its line.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.testing.assembled import set_variables

if TYPE_CHECKING:
    import pytest

    from assembler.testing.expect.run import Result


class Expectations:
    """Sends the requests of manifests for one test."""

    def __init__(self, monkeypatch: "pytest.MonkeyPatch") -> None:
        self._monkeypatch = monkeypatch

    def __call__(
        self,
        manifest: str | Path,
        override: Mapping[str, Any] | None = None,
        *,
        resources: Mapping[str, Any] | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> "list[Result]":
        """Start the application of `manifest`, and fail the test where it meets not all.

        The arguments are those of `assembled`; `logging` is left out as there.
        """
        import pytest  # noqa: PLC0415  # `assembler test` runs without it

        from assembler.plan.load import load  # noqa: PLC0415  # as above
        from assembler.testing.expect.report import as_text  # noqa: PLC0415  # for who asks for one
        from assembler.testing.expect.run import try_all  # noqa: PLC0415  # as above

        __tracebackhide__ = True
        set_variables(self._monkeypatch, environment)
        plan = load(manifest, {"logging": None, **(override or {})})
        results = asyncio.run(try_all(plan, os.environ, resources))
        if any(result.faults for result in results):
            pytest.fail(as_text(results), pytrace=False)
        return results
