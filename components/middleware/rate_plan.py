"""What holds for the requests that match the same limits, and what their answers say.

In: limits, how to count them, decisions. Out: a rule and a field for the answers to what is admitted,
or a refusal sent: 429 or 503, and for a websocket close 1013 where its server cannot answer so.
"""

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from components.middleware.header_layer import NOTHING, Fields, Rule, Step
from components.rate_limit.answer import (
    TRY_AGAIN_LATER,
    HeaderField,
    Refusals,
    limit_template,
    policy_field,
    seconds_up,
)
from components.rate_limit.store import Decision, Limit


class Plan(Rule):
    """What holds for the requests that match the same entries; it adds the policy to answers."""

    __slots__ = ("_policy", "_templates", "cost", "hit", "refusals")

    def __init__(
        self,
        *,
        limits: tuple[Limit, ...],
        hit: Callable[[str, int], Decision | Awaitable[Decision]],
        cost: int,
        refusals: Refusals,
    ) -> None:
        self.hit = hit
        self.cost = cost
        self.refusals = refusals
        self._policy = policy_field(limits)
        self._templates = {limit: limit_template(limit) for limit in limits}

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        return [*fields, self._policy]

    def step(self, decision: Decision) -> Step:
        """What to say of an admitted request; of one that was not counted, nothing."""
        _, limit, remaining, wait_ns = decision
        if limit is None:
            return NOTHING
        value = self._templates[limit] % (remaining, seconds_up(wait_ns))
        return Step(self, (b"ratelimit", value))


async def refuse(
    answer: tuple[int, list[HeaderField], bytes], scope: Scope, receive: Receive, send: Send
) -> None:
    """Send a refusal, as far as this connection can carry it."""
    status, fields, body = answer
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "rate limit"})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": fields})
    await send({"type": f"{kind}.body", "body": body})
