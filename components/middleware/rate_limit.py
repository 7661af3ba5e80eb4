"""Limits how often a client may call, over all routes and tighter over some.

In: HTTP requests and websocket handshakes. Out: the app's answer with RateLimit fields, or 429
(a websocket is refused before it is accepted, with 429 where the server can, else close 1013).
Not counted: preflights (a browser sends them unasked) and what `exempt` names.

Several limits hold together: a request is charged to all that match it or, when one refuses, to
none. Place it inside CORS, so that scripts can read a 429, and, for `key: user`, inside the
authentication.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import TypedDict

from components.http.error_response import BodyOption, valid_shape
from components.http.openapi import Offer
from components.http.paths import RequestPattern, app_path, exempts, guards, means_route, reach
from components.middleware.header_layer import NOTHING, Fields, HeaderLayer, Rule, Step
from components.rate_limit.answer import (
    TRY_AGAIN_LATER,
    HeaderField,
    Refusals,
    limit_template,
    offer_of,
    policy_field,
    seconds_up,
)
from components.rate_limit.keys import KeyOption, shown_key, subject_of
from components.rate_limit.memory import MemoryStore
from components.rate_limit.rates import Cost, RateText, parse_rates
from components.rate_limit.store import (
    Decision,
    Limit,
    OnStoreError,
    PolicyName,
    StoreErrorOption,
    StoreOption,
    name_limits,
)

_STRICTEST: dict[OnStoreError, int] = {"deny": 0, "local": 1, "allow": 2}
_REMEMBERED_PATHS = 4096
_MOST_REFUSED = 512  # keys whose refusals are counted
_LONGEST_REMEMBERED = 256


@with_config(ConfigDict(extra="forbid"))
class RouteLimit(TypedDict):
    """What holds for the requests that match, besides the limit over all of them."""

    match: Annotated[
        RequestPattern, Field(description="`POST /api/v1/auth/*`, `/search`, `GET,HEAD /a/*`")
    ]
    limit: NotRequired[
        Annotated[
            RateText,
            Field(description="rates such as `10/minute`", json_schema_extra={"looser": "higher"}),
        ]
    ]
    cost: NotRequired[Cost]
    on_store_error: NotRequired[StoreErrorOption]


class RateLimitMiddleware(HeaderLayer):
    """Admits at most the given number of requests of one client in any window of the period.

    Every entry of `routes` that matches a request adds its limit; of several costs the highest
    holds, and of several `on_store_error` the strictest. Over one shared store, two of these with
    the same name, key and rate are one limit.

    Metrics: `rate_limit_decisions_total`, where the middleware of `components.metrics` is outside.
    """

    layer_role = "limiter"

    on_websockets = True
    reads_headers = False

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: Annotated[
            RateText,
            Field(
                description="one rate or several: `500/minute`, `10/second`, `1000/5 minutes`",
                json_schema_extra={"looser": "higher"},
            ),
        ],
        key: KeyOption = "client_ip",
        store: StoreOption = None,
        exempt: Annotated[
            Sequence[RequestPattern],
            Field(
                description="patterns of what is not counted: `/health/*`",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        routes: Annotated[
            Sequence[RouteLimit],
            Field(
                description="tighter limits for some requests",
                json_schema_extra={"looser": "shorter"},
            ),
        ] = (),
        on_store_error: StoreErrorOption = "local",
        name: PolicyName = "default",
        body: BodyOption = "error",
        fields: Annotated[
            bool, Field(description="send RateLimit and RateLimit-Policy on admitted requests")
        ] = True,
    ) -> None:
        self.app = app
        self._subject = subject_of(key)
        self._by = shown_key(key)
        self._store = MemoryStore() if store is None else store
        if isinstance(exempt, str) or isinstance(routes, (str, Mapping)):
            raise TypeError("`exempt` and `routes` are lists")
        self._exempt = exempts("exempt", exempt)
        self._limits = name_limits(name, parse_rates(limit))
        self._on_store_error = _store_error(on_store_error)
        self._routes = [_Route(route) for route in routes]
        self._shape = valid_shape(body)
        self._fields = fields
        self._plans: dict[tuple[_Route, ...], _Plan] = {}
        self._remembered: dict[tuple[str, str], _Plan | None] = {}
        self._plan(())
        for route in self._routes:
            self._plan((route,))  # so that a store that cannot count shows now
            if any(route.cost > limit.rate.quota for limit in self._limits + route.limits):
                raise ValueError(f"a `cost` of {route.cost} is over a whole limit: nothing passes")
        self._refused: dict[str, int] = {}
        self._join(touches=(), adds=[b"ratelimit"])

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The limits of a route: the refusals, and what all its answers say of them."""
        if means_route(partial(self._exempt, method), path):
            return None
        meant = [
            each for each in self._routes if reach("match", [each.match], method, path) != "none"
        ]
        limits = sum((route.limits for route in meant), self._limits)
        modes = [self._on_store_error, *(route.on_store_error for route in meant)]
        return offer_of(
            limits, self._by, self._shape, fields=self._fields, is_denying="deny" in modes
        )

    def figures(self) -> dict[str, Any]:
        """Return the limits, and how often which keys were refused in this process."""
        limits = {
            limit.name: [limit.name, limit.rate.quota, limit.rate.period_seconds]
            for plan in self._plans.values()
            for limit in plan.limits
        }
        return {"limits": list(limits.values()), "refused_keys": list(self._refused.items())}

    def _note_refused(self, scope: Scope) -> None:
        """Count a refusal; of many keys those stay that were refused most."""
        refused, subject = self._refused, self._subject(scope)
        refused[subject] = refused.get(subject, 0) + 1
        if len(refused) > _MOST_REFUSED:
            kept = sorted(refused, key=refused.__getitem__, reverse=True)[: _MOST_REFUSED // 2]
            self._refused = {key: refused[key] for key in kept}

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        is_http = scope["type"] == "http"
        method = scope["method"] if is_http else "GET"
        request = (method, app_path(scope) if scope.get("root_path") else scope["path"])
        try:
            plan = self._remembered[request]
        except KeyError:
            plan = self._choose(request)
        if plan is None or (method == "OPTIONS" and _is_preflight(scope)):
            return NOTHING
        decision = plan.hit(self._subject(scope), plan.cost)
        if not isinstance(decision, Decision):
            return Step(app=partial(self._decided_later, plan, decision))
        if not decision[0]:
            self._note_refused(scope)
            return Step(app=partial(_refuse, plan.refusals.answer(decision, scope)))
        return plan.step(decision) if is_http and self._fields else NOTHING

    async def _decided_later(
        self,
        plan: "_Plan",
        waiting: Awaitable[Decision],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        decision = await waiting
        if not decision.admitted:
            self._note_refused(scope)
            await _refuse(plan.refusals.answer(decision, scope), scope, receive, send)
            return
        is_told = scope["type"] == "http" and self._fields
        step = plan.step(decision) if is_told else NOTHING
        rule, value = step.rule, step.field
        if rule is None or value is None:
            await self.app(scope, receive, send)
            return

        def send_with_fields(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                fields = rule.edit(list(message.get("headers", ())), message["status"], scope)
                message = {**message, "headers": [*fields, value]}
            return send(message)

        await self.app(scope, receive, send_with_fields)

    def _choose(self, request: tuple[str, str]) -> "_Plan | None":
        method, path = request
        plan = None
        if not self._exempt(method, path):
            plan = self._plan(tuple(r for r in self._routes if r.matches(method, path)))
        if len(method) + len(path) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _REMEMBERED_PATHS:
                self._remembered.clear()
            self._remembered[request] = plan
        return plan

    def _plan(self, routes: "tuple[_Route, ...]") -> "_Plan":
        if routes not in self._plans:
            limits = sum((route.limits for route in routes), self._limits)
            cost = max((route.cost for route in routes), default=1)
            modes = [route.on_store_error for route in routes if route.on_store_error]
            mode = min(modes, key=_STRICTEST.__getitem__, default=self._on_store_error)
            self._plans[routes] = _Plan(
                limits=limits,
                hit=self._store.counter(limits, on_error=mode).hit,
                cost=min(cost, *(limit.rate.quota for limit in limits)),
                refusals=Refusals(limits, self._shape),
            )
        return self._plans[routes]


class _Route:
    """An entry of `routes`, read."""

    __slots__ = ("cost", "limits", "match", "matches", "on_store_error")

    def __init__(self, route: RouteLimit) -> None:
        unknown = set(route) - RouteLimit.__annotations__.keys()
        if unknown or "match" not in route:
            raise ValueError(f"an entry of `routes` takes {', '.join(RouteLimit.__annotations__)}")
        self.match = route["match"]
        self.matches = guards("match", [route["match"]])
        self.cost = route.get("cost", 1)
        if self.cost < 1:
            raise ValueError(f"`{route['match']}`: `cost` must be at least 1")
        rates = parse_rates(route["limit"]) if "limit" in route else ()
        self.limits = name_limits(route["match"], rates) if rates else ()
        mode = route.get("on_store_error")
        self.on_store_error = None if mode is None else _store_error(mode)


class _Plan(Rule):
    """What holds for the requests that match the same entries; it adds the policy to answers."""

    __slots__ = ("_policy", "_templates", "cost", "hit", "limits", "refusals")

    def __init__(
        self,
        *,
        limits: tuple[Limit, ...],
        hit: Callable[[str, int], Decision | Awaitable[Decision]],
        cost: int,
        refusals: Refusals,
    ) -> None:
        self.limits = limits
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


async def _refuse(
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


def _store_error(mode: OnStoreError) -> OnStoreError:
    if mode not in _STRICTEST:
        raise ValueError(f"`on_store_error` must be one of {', '.join(_STRICTEST)}")
    return mode


def _is_preflight(scope: Scope) -> bool:
    """Whether an OPTIONS request is a browser's question, judged as Starlette's CORS does."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
