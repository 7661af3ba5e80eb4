"""The end of a server that has a successor."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
import uvloop

from assembler.runtime.supervision.retirement import retire
from tests.waiting import until


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    "loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("turns", range(1, 4))
def test_a_client_that_was_accepted_at_the_last_moment_is_answered(loop: Any, turns: int) -> None:
    async def main() -> bytes:
        config = uvicorn.Config(hello, port=0, loop="asyncio", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        await until(lambda: server.started)
        address = server.servers[0].sockets[0].getsockname()
        with socket.create_connection(address) as client:
            client.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)  # with one, asyncio accepts it after what follows here
            retiring = asyncio.create_task(retire(server, 0.2, "key"))
            client.send(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            answer = b""
            async with asyncio.timeout(30):
                while part := await asyncio.get_running_loop().sock_recv(client, 1000):
                    answer += part
        await retiring
        await serving
        return answer

    with asyncio.Runner(loop_factory=loop) as runner:
        answer = runner.run(main())
    assert answer.startswith(b"HTTP/1.1 204 ")
