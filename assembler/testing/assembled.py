"""A manifest → its application, started, and a client that sends it requests.

In: the path of a manifest, values that override its own, objects that stand for its resources, and
variables. Out: Starlette's `TestClient`; `client.app` is the application. What was started is
stopped at the end of the test, the last first. Refuses what `assembler.load` and `assembler.build`
refuse, and raises what a step of the start raises.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from starlette.testclient import TestClient


class Assembled:
    """Starts applications for one test."""

    def __init__(self, stack: ExitStack, monkeypatch: "pytest.MonkeyPatch") -> None:
        self._stack = stack
        self._monkeypatch = monkeypatch

    def __call__(
        self,
        manifest: str | Path,
        override: Mapping[str, Any] | None = None,
        *,
        resources: Mapping[str, Any] | None = None,
        environment: Mapping[str, str | None] | None = None,
        **client: Any,
    ) -> "TestClient":
        """Start the application of `manifest`, and return a client of it.

        `override` maps paths such as `resources.db.with.url` to values, `resources` replace the
        manifest's by id and stay the caller's. The variables of `environment` are set until the
        test ends, and those that are None are not there, for settings classes too. `client` goes
        to the `TestClient`: `raise_server_exceptions=False` answers 500 as a server would.

        The `logging` section is left out unless `override` has one: it is the process's, and
        what pytest captures would go elsewhere, in later tests too.
        """
        from starlette.testclient import TestClient  # noqa: PLC0415  # for who asks for one

        from assembler.application.build import build  # noqa: PLC0415  # as above
        from assembler.plan.load import load  # noqa: PLC0415  # as above

        set_variables(self._monkeypatch, environment)
        app = build(load(manifest, {"logging": None, **(override or {})}), resources)
        return self._stack.enter_context(TestClient(app, **client))


def set_variables(
    monkeypatch: "pytest.MonkeyPatch", environment: Mapping[str, str | None] | None
) -> None:
    """Set variables until the test ends; those that are None are not there."""
    for name, value in (environment or {}).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
