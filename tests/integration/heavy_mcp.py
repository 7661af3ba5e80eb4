"""A mounted MCP server as a user of the project would write one, with what it costs to import."""

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from components.mcp.principal import principal_of


def app(*, name: str = "estate") -> Starlette:
    server = MCPServer(name)

    @server.tool()
    def whoami(context: Context) -> str:
        """The principal of the token."""
        request = context.request_context.request
        assert request is not None
        return principal_of(request).id

    open_to_tests = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(
        streamable_http_path="/",
        stateless_http=True,
        json_response=True,
        transport_security=open_to_tests,
    )
