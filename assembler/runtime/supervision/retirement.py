"""A server that has a successor → its end, of which no client takes harm.

In: uvicorn's server, how long its connections and streams may still be served. Out: the server told
to stop, once that is over. It listens no more from the first moment; each answer on a connection
that was kept says `Connection: close`, so that no client sends a request into a connection which is
just being closed (RFC 9112, section 9.6). Then event streams end with their last chunk, and
websockets are closed with 1012 (service restart), one after the other, so that their clients do not
come back all at once.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn import Server

_CLOSE = (b"connection", b"close")
_LOOK_SECONDS = 0.05
_SPREAD_SECONDS = 5.0  # over which websockets are closed, at the most
_STEP_SECONDS = 0.05  # between two of them, at the most


def close_kept_connections(server: Any) -> None:
    """Let each answer from now on be the last one of its connection.

    uvicorn adds its default headers to each answer, and reads `Connection: close` among them; the
    list is made anew each second from those of the configuration. Under HTTP/2 there is no such
    header, and uvicorn says it by a frame when it stops.
    """
    state: Any = getattr(server, "server_state", None)
    config: Any = getattr(server, "config", None)
    if state is None or "zttp" in getattr(config.http_protocol_class, "__module__", ""):
        return
    if _CLOSE not in state.default_headers:
        config.encoded_headers = [*config.encoded_headers, _CLOSE]
        state.default_headers = [*state.default_headers, _CLOSE]
    for connection in list(state.connections):
        cycle = getattr(connection, "cycle", None)
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            cycle.default_headers = state.default_headers


async def retire(server: "Server", seconds: float, exchange_key: str) -> None:
    """Serve what is connected for `seconds`, as long as anything is; then tell the server to stop.

    `exchange_key` is the key of a request's scope under which the object stands that ends its
    event stream.
    """
    await _stop_listening(server)
    close_kept_connections(server)
    end = asyncio.get_running_loop().time() + seconds
    await asyncio.sleep(_LOOK_SECONDS)  # who was accepted just now is among the connections by then
    while server.server_state.connections and not server.should_exit:
        if asyncio.get_running_loop().time() >= end:
            await _end_streams(server, exchange_key)
            break
        await asyncio.sleep(_LOOK_SECONDS)
    server.should_exit = True


async def _stop_listening(server: "Server") -> None:
    """Accept nobody any more, and lose nobody who is accepted.

    asyncio hands a client to its protocol one turn after it was accepted; of a listener that is
    closed by then it never does, and says nothing to the client.
    """
    loop = asyncio.get_running_loop()
    for listener in server.servers:
        for each in listener.sockets:
            with suppress(NotImplementedError, RuntimeError):  # of a loop that does not read it so
                loop.remove_reader(each.fileno())
    await asyncio.sleep(0)
    for listener in server.servers:
        listener.close()


async def _end_streams(server: "Server", exchange_key: str) -> None:
    websockets: list[Any] = []
    for connection in list(server.server_state.connections):
        cycle = getattr(connection, "cycle", None)
        if cycle is None:
            websockets.append(connection)
            continue
        exchange = cycle.scope.get(exchange_key)
        if exchange is not None and not cycle.response_complete:
            with suppress(Exception):  # its client has gone
                await exchange.end_event_stream()
    step = min(_STEP_SECONDS, _SPREAD_SECONDS / max(1, len(websockets)))
    for connection in websockets:
        if connection in server.server_state.connections:
            with suppress(Exception):  # as above
                connection.shutdown()
            await asyncio.sleep(step)
