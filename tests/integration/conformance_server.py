"""The server that the official conformance suite expects to find, as a mount of a manifest.

What its tools and texts are called, and what they answer, is the suite's own choice.
"""

import asyncio
import base64
import json
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

from components.mcp.http_transport import HttpTransport
from components.mcp.server import caller, http_app, mcp_server

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
Round = str | InputRequiredResult


class LoggedIn:
    """Puts a token on requests that have none: the suite's runner cannot log in."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self.app = app
        self._field = (b"authorization", f"Bearer {token}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], self._field]
        await self.app(scope, receive, send)


def app(*, transport: HttpTransport) -> ASGIApp:
    server = mcp_server("conformance", version="1", transport=transport)
    for add in (add_content, add_talking, add_rounds, add_resources, add_prompts, add_older):
        add(server)
    return http_app(server, transport=transport)


def add_content(server: MCPServer[Any]) -> None:
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")

    def embedded(uri: str, kind: str, text: str) -> EmbeddedResource:
        inner = TextResourceContents(uri=uri, mime_type=kind, text=text)
        return EmbeddedResource(type="resource", resource=inner)

    @server.tool()
    def test_simple_text(context: Context) -> str:
        """A text."""
        assert caller(context).id
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """An image."""
        return [image]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """A sound."""
        return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """A resource in the answer."""
        text = "This is an embedded resource content."
        return [embedded("test://embedded-resource", "text/plain", text)]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """A text, an image and a resource."""
        data = json.dumps({"test": "data", "value": 123})
        return [
            TextContent(type="text", text="Multiple content types test:"),
            image,
            embedded("test://mixed-content-resource", "application/json", data),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool()
    def test_custom_headers(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "",
    ) -> str:
        """Has an argument that also stands in a header."""
        return region


def add_talking(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_tool_with_logging(context: Context) -> str:
        """Logs while it runs."""
        for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await context.session.send_log_message(
                "info", text, related_request_id=context.request_id
            )
            await asyncio.sleep(0.05)
        return "done"

    @server.tool()
    async def test_logging_tool(context: Context) -> str:
        """Logs once."""
        await context.session.send_log_message(
            "info", "a line", related_request_id=context.request_id
        )
        return "done"

    @server.tool()
    async def test_tool_with_progress(context: Context) -> str:
        """Tells how far it is."""
        for done in (0, 50, 100):
            await context.report_progress(done, 100, f"Completed step {done} of 100")
            await asyncio.sleep(0.05)
        return "done"

    @server.tool()
    def test_streaming_elicitation() -> str:
        """Asks for nothing on its stream."""
        return "done"

    @server.tool()
    def test_missing_capability(context: Context) -> str:
        """Needs a client that can sample."""
        capabilities = context.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", data)
        return "done"

    @server.tool()
    async def test_trigger_tool_change(context: Context) -> str:
        """Tells listeners that tools changed."""
        await context.notify_tools_changed()
        return "done"

    @server.tool()
    async def test_trigger_prompt_change(context: Context) -> str:
        """Tells listeners that prompts changed."""
        await context.notify_prompts_changed()
        return "done"


def add_rounds(server: MCPServer[Any]) -> None:
    prefix = "test_input_required_result_"

    @server.tool(name=f"{prefix}elicitation")
    def elicitation(context: Context) -> Round:
        """Asks for a name."""
        given = answers(context, "user_name")
        return f"Hello, {given}!" if given else asked(user_name=form("What is your name?", "name"))

    @server.tool(name=f"{prefix}sampling")
    def sampling(context: Context) -> Round:
        """Asks the client's model."""
        given = answers(context, "capital_question")
        question = sample("What is the capital of France?")
        return str(given) if given else asked(capital_question=question)

    @server.tool(name=f"{prefix}list_roots")
    def list_roots(context: Context) -> Round:
        """Asks for the client's roots."""
        given = answers(context, "client_roots")
        return str(given) if given else asked(client_roots=ROOTS)

    @server.tool(name=f"{prefix}request_state")
    def request_state(context: Context) -> Round:
        """Keeps a state with the client."""
        if answers(context, "confirm") and context.request_state == "asked":
            return "state-ok"
        return asked(state="asked", confirm=form("Please confirm", "ok", "boolean"))

    @server.tool(name=f"{prefix}tampered_state")
    def tampered_state(context: Context) -> Round:
        """Keeps a state that must not be changed."""
        return request_state(context)

    @server.tool(name=f"{prefix}multiple_inputs")
    def multiple_inputs(context: Context) -> Round:
        """Asks for three things at once."""
        if all(answers(context, name) for name in ("user_name", "greeting", "client_roots")):
            return "all given"
        return asked(
            state="many",
            user_name=form("What is your name?", "name"),
            greeting=sample("Generate a greeting", 50),
            client_roots=ROOTS,
        )

    @server.tool(name=f"{prefix}multi_round")
    def multi_round(context: Context) -> Round:
        """Asks twice."""
        if context.request_state == "two" and answers(context, "step2"):
            return "both given"
        if context.request_state == "one" and answers(context, "step1"):
            return asked(state="two", step2=form("Step 2: What is your favorite color?", "color"))
        return asked(state="one", step1=form("Step 1: What is your name?", "name"))

    @server.tool(name=f"{prefix}capabilities")
    def capabilities(context: Context) -> Round:
        """Asks for no more than the client can give."""
        declared = context.client_capabilities
        wanted: dict[str, Any] = {}
        if declared and declared.elicitation is not None:
            wanted["name"] = form("Name?", "name")
        if declared and declared.sampling is not None:
            wanted["text"] = sample("Say hello")
        return asked(**wanted) if wanted else "nothing to ask"


def add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource")
    def watched() -> str:
        """Something to subscribe to."""
        return "watched"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """What the address says."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A prompt with a resource in it."""
        inner = TextResourceContents(uri=resourceUri, mime_type="text/plain", text="Embedded.")
        return [
            UserMessage(EmbeddedResource(type="resource", resource=inner)),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """A prompt with an image in it."""
        image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
        return [UserMessage(image), UserMessage("Please analyze the image above.")]

    @server.prompt()
    def test_input_required_result_prompt(context: Context) -> Round:
        """A prompt that asks first."""
        given = answers(context, "user_context")
        question = form("What context should the prompt use?", "context")
        return f"In the context of {given}" if given else asked(user_context=question)

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # so it is in the SDK
    async def complete(reference: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=["paris", "park", "party"], total=3, has_more=False)


def add_older(server: MCPServer[Any]) -> None:
    """What 2025-11-25 has, and the current protocol has no more."""
    inner = server._lowlevel_server

    async def well(context: Any, params: Any) -> EmptyResult:
        return EmptyResult()

    inner.add_request_handler("logging/setLevel", SetLevelRequestParams, well)
    inner.add_request_handler("resources/subscribe", SubscribeRequestParams, well)
    inner.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, well)


ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}


def form(message: str, name: str, kind: str = "string") -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {
        "method": "elicitation/create",
        "params": {"message": message, "requestedSchema": schema},
    }


def sample(text: str, tokens: int = 100) -> dict[str, Any]:
    message = {"role": "user", "content": {"type": "text", "text": text}}
    return {
        "method": "sampling/createMessage",
        "params": {"messages": [message], "maxTokens": tokens},
    }


def asked(*, state: str | None = None, **requests: dict[str, Any]) -> InputRequiredResult:
    return InputRequiredResult.model_validate({"inputRequests": requests, "requestState": state})


def answers(context: Context, name: str) -> Any:
    """What the client answered, or None."""
    return (context.input_responses or {}).get(name)
