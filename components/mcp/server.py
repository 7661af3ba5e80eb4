"""A name, a transport, and tools -> an MCP server as an ASGI application to mount.

In: what `mcp_server` takes; then tools, resources and prompts are registered on the SDK's `MCPServer`
as its documentation says; `http_app` makes the application. Its lifespan runs the SDK's session manager, and
must be entered, as mounts of a manifest are. It answers at its root only; refusals are
`HTTPException`s, for the handlers of the application around it.

This module imports the SDK, which takes most of a second: import it from what a lazy mount names,
not from what a manifest loads at its start.
"""

import inspect
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from inspect import Parameter
from typing import Any, get_type_hints

from mcp.server.context import ServerRequestContext
from mcp.server.extension import Extension
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.context_injection import find_context_parameter
from mcp.server.request_state import RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from components.mcp.http_transport import HttpTransport
from components.mcp.principal import Principal, principal_of

_UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def mcp_server(
    name: str,
    *,
    transport: HttpTransport,
    version: str = "",
    title: str | None = None,
    instructions: str | None = None,
    extensions: Sequence[Extension] = (),
) -> MCPServer[Any]:
    """Make a server without tools. `instructions` tell a model what the server is for.

    What a tool keeps with a client between two rounds of a call is sealed by the transport's keys, for
    the principal of the call. Without keys each process has its own.
    """
    with _logging_left_alone():
        return _GivingServer(
            name,
            version=version,
            title=title,
            instructions=instructions,
            extensions=extensions,
            request_state_security=RequestStateSecurity(
                keys=transport.state_keys or [os.urandom(32)],
                bind_principal=None if transport.anonymous else _principal,
            ),
            # A listener would hear of the changes of one process only.
            subscriptions=None if transport.streams else False,
        )


def http_app(
    server: MCPServer[Any], *, transport: HttpTransport, for_roles: bool = False
) -> ASGIApp:
    """Make the application of a server, behind the transport's rules.

    `for_roles` is for servers whose tools are not for every user: it stays closed where the gate
    before it asks for no role, as where a manifest mounts it at another path than the gate knows.
    """
    # It makes the session manager; its routes and its checks are not used.
    server.streamable_http_app(
        stateless_http=True,
        json_response=not transport.streams,
        transport_security=_UNCHECKED,
        max_request_body_size=transport.max_body_bytes,
    )
    manager = server.session_manager

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        async with manager.run():
            yield

    endpoint = transport.guarded(StreamableHTTPASGIApp(manager), for_roles=for_roles)
    router: Any = Router([Route("/", endpoint)], redirect_slashes=False, lifespan=lifespan)
    router.asked_resources = getattr(server, "asked_resources", ())
    application: ASGIApp = router
    return application


def answer(text: str, content: BaseModel) -> CallToolResult:
    """A tool's answer: `text` for models to read, `content` for programs and widgets.

    A tool that gives it is annotated `-> Annotated[CallToolResult, ContentModel]`.
    """
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=content.model_dump(mode="json"),
    )


class _GivingServer(MCPServer[Any]):
    """Gives tools the resources that they ask for; a model sees no parameter of these.

    `asked_resources` has the name of each such tool, the id and the type of the resource.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.asked_resources: list[tuple[str, str, Any]] = []
        super().__init__(*arguments, **options)

    def add_tool(self, fn: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Add a tool, as the SDK does."""
        name = getattr(fn, "__name__", "tool")
        for hint in _hints_of(fn).values():
            id_ = _resource_id(hint)
            if id_ is not None:
                self.asked_resources.append((name, id_, hint.__origin__))
        super().add_tool(_with_resources(fn), *arguments, **options)


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}


def _with_resources(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool without the parameters whose annotation has a mark with a `resource_id`.

    They are given from the state of the request, where the resources of an application stand.
    """
    hints = _hints_of(function)
    marks = {name: mark for name, hint in hints.items() if (mark := _resource_id(hint)) is not None}
    if not marks:
        return function
    parameters = inspect.signature(function).parameters
    own = find_context_parameter(function)
    name = own or "call_context"
    kept = [item for item in parameters.values() if item.name not in marks]
    if own is None:
        kept.append(Parameter(name, Parameter.KEYWORD_ONLY, annotation=Context))

    def arguments_of(given: dict[str, Any]) -> dict[str, Any]:
        context = given[name] if own else given.pop(name)
        state = request_of(context).scope.get("state", {})
        missing = next((id_ for id_ in marks.values() if id_ not in state), None)
        if missing is not None:
            raise ToolError(f"this service has no resource `{missing}`")
        return {**given, **{parameter: state[id_] for parameter, id_ in marks.items()}}

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def tool(**given: Any) -> Any:
            return await function(**arguments_of(given))
    else:

        @wraps(function)
        def tool(**given: Any) -> Any:
            return function(**arguments_of(given))

    del tool.__wrapped__
    shown = {key: hint for key, hint in hints.items() if key not in marks}
    tool.__annotations__ = {**shown, name: hints[name] if own else Context}
    tool.__signature__ = inspect.signature(function).replace(parameters=kept)  # type: ignore[attr-defined]  # what inspect looks for
    return tool


def _resource_id(hint: Any) -> str | None:
    found = (getattr(mark, "resource_id", None) for mark in getattr(hint, "__metadata__", ()))
    return next((each for each in found if isinstance(each, str)), None)


def request_of(context: Context[Any]) -> Request:
    """The HTTP request of a tool's call; raises `ToolError`, for the model, where there is none."""
    request = context.request_context.request
    if not isinstance(request, Request):
        raise ToolError("this tool is for calls over HTTP")
    return request


def caller(context: Context[Any]) -> Principal:
    """Whom the token of a tool's call speaks for; raises `ToolError` where no gate has seen one."""
    try:
        return principal_of(request_of(context))
    except PermissionError as error:
        raise ToolError("nobody is logged in") from error


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Keep the SDK from configuring the root logger, which it does where that has no handler."""
    root, placeholder = logging.getLogger(), logging.NullHandler()
    root.addHandler(placeholder)
    try:
        yield
    finally:
        root.removeHandler(placeholder)


def _principal(context: ServerRequestContext[Any, Any]) -> str:
    assert context.request is not None  # noqa: S101  # HTTP is all that is served here
    principal = principal_of(context.request)
    return json.dumps([principal.issuer, principal.client_id, principal.id])
