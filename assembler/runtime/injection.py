"""What a function needs → the arguments that it is given, for one run.

In: the needs that `plan.injection` found, and the resources. Out: the objects, and what dependencies
return; those with a `yield` are left when the run ends, however it ends. `Resource` is the mark that
asks for a resource in an annotation, in routes by FastAPI itself.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache
from typing import Any

from fastapi import params
from starlette.requests import HTTPConnection

from assembler.plan.injection import CallNeed, Need, ResourceNeed
from assembler.runtime.task import call


class Resource(params.Depends):
    """Asks for a resource of the manifest: `db: Annotated[AsyncEngine, Resource("db")]`.

    It works in routes, websockets, their dependencies, jobs, steps of the start, functions of the
    end, and tools of an MCP server. `check` proves that the id exists and that the type fits.
    """

    def __init__(self, id: str) -> None:
        super().__init__(_giver(id))

    @property
    def resource_id(self) -> str:
        """The id of the resource."""
        return str(getattr(self.dependency, "resource_id", ""))


@cache
def _giver(id: str) -> Callable[[HTTPConnection], Awaitable[Any]]:
    """Return what FastAPI calls; one for each id, so that it is asked once for a request."""

    async def give(connection: HTTPConnection) -> Any:
        assembly = getattr(connection.app.state, "assembly", None)
        for known in (getattr(assembly, "resources", {}), connection.scope.get("state", {})):
            if id in known:
                return known[id]
        raise LookupError(f"no resource is called `{id}`")

    give.resource_id = id  # type: ignore[attr-defined]  # by which others know it
    return give


@asynccontextmanager
async def given(
    needs: Mapping[str, Need], resources: Mapping[str, Any], arguments: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Give `arguments`, and what else is needed, for the time of one run."""
    async with AsyncExitStack() as stack:
        run = _Run(stack, resources)
        rest = {name: need for name, need in needs.items() if name not in arguments}
        yield {**arguments, **await run.all_of(rest)}


class _Run:
    """One run: what shared dependencies have returned in it."""

    def __init__(self, stack: AsyncExitStack, resources: Mapping[str, Any]) -> None:
        self.stack = stack
        self.resources = resources
        self.shared: dict[Any, Any] = {}

    async def all_of(self, needs: Mapping[str, Need]) -> dict[str, Any]:
        return {name: await self.one(need) for name, need in needs.items()}

    async def one(self, need: Need) -> Any:
        if isinstance(need, ResourceNeed):
            return self.resources[need.id]
        if need.is_shared and need.function in self.shared:
            return self.shared[need.function]
        value = await self._called(need)
        if need.is_shared:
            self.shared[need.function] = value
        return value

    async def _called(self, need: CallNeed) -> Any:
        function, arguments = need.function, await self.all_of(need.needs)
        if inspect.isasyncgenfunction(function):
            return await self.stack.enter_async_context(asynccontextmanager(function)(**arguments))
        if inspect.isgeneratorfunction(function):
            context = contextmanager(function)(**arguments)
            value = await call(context.__enter__)

            async def leave(*error: Any) -> Any:
                return await call(context.__exit__, *error)

            self.stack.push_async_exit(leave)
            return value
        return await call(function, **arguments)
