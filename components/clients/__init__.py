"""Clients of other services, and the end of them all."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field


@runtime_checkable
class Closing(Protocol):
    """What is closed with `aclose`, once or more often."""

    async def aclose(self) -> None: ...


async def close_all(
    *, clients: Annotated[Sequence[Closing], Field(description="what to close, all at once")] = ()
) -> None:
    """Close these clients, though others of them fail.

    A client that is a resource is closed anyway, after the shutdown hooks and in its place. This is
    for whoever wants the connections gone earlier, and for clients that are nobody's resource.
    Nothing keeps a list of the clients that were made, so without `clients` there is nothing to do.

    Raises ExceptionGroup with what they raised.
    """
    ends = await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, Exception)]
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(clients)} clients did not close", errors)
