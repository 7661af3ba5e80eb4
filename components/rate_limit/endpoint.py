"""A limit on one route or router, as a FastAPI dependency.

In: the connection, after routing. Out: nothing, or `RateLimited`, which FastAPI answers with 429;
a websocket is closed before it is accepted where its server cannot answer it with a status.

Each route counts apart, by its own template (`/users/{id}`) and endpoint. So it does not matter
how a router was included, under which root path the app runs, or what stands in the parameters.

FastAPI puts the headers of a dependency on what it answers itself, and drops them where the endpoint
returns a `Response`. There they are put on by a wrapper round `dependant.call`, the place that FastAPI
leaves to integrations, which is made when a route is first seen.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any

from pydantic import Field
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from components.http.openapi import Offer
from components.http.routes import matched_route
from components.rate_limit.answer import (
    TRY_AGAIN_LATER,
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
    PolicyName,
    StoreErrorOption,
    StoreOption,
    name_limits,
)

# What FastAPI gives to all dependencies of the running request, to put headers on.
_INJECTED: ContextVar[Response | None] = ContextVar("rate_limit_injected", default=None)
_FIELDS = frozenset({b"ratelimit-policy", b"ratelimit"})


class RateLimited(HTTPException):
    """A refusal, 429 or 503; handlers may shape it by `code` and `details`."""

    def __init__(self, status_code: int, detail: str, headers: dict[str, str], code: str) -> None:
        super().__init__(status_code, detail, headers)
        self.code = code
        self.details = {"retry_after": int(headers["Retry-After"])}


class EndpointRateLimiter:
    """`Depends(EndpointRateLimiter("10/minute"))`, on a route, a router or the app."""

    layer_role = "limiter"

    def __init__(
        self,
        limit: Annotated[
            RateText,
            Field(description="one rate or several", json_schema_extra={"looser": "higher"}),
        ],
        *,
        key: KeyOption = "client_ip",
        cost: Cost = 1,
        store: StoreOption = None,
        on_store_error: StoreErrorOption = "local",
        name: PolicyName = "endpoint",
    ) -> None:
        limits = name_limits(name, parse_rates(limit))
        if not 1 <= cost <= min(limit.rate.quota for limit in limits):
            raise ValueError("`cost` must be at least 1 and at most the limit")
        if on_store_error not in {"local", "allow", "deny"}:
            raise ValueError("`on_store_error` must be one of deny, local, allow")
        store = MemoryStore() if store is None else store
        self._hit = store.counter(limits, on_error=on_store_error).hit
        self._subject = subject_of(key)
        self._limits, self._by = limits, shown_key(key)
        self._is_denying = on_store_error == "deny"
        self._cost = cost
        self._policy = policy_field(limits)
        self._templates = {limit: limit_template(limit) for limit in limits}
        self._names: dict[int, tuple[object, str]] = {}

    async def __call__(self, connection: HTTPConnection, response: Response) -> None:
        scope = connection.scope
        route = matched_route(scope)
        known = self._names.get(id(route))
        name = self._route_name(scope, route) if known is None else known[1]
        decision = self._hit(name + self._subject(scope), self._cost)
        if not isinstance(decision, Decision):
            decision = await decision
        admitted, limit, remaining, wait_ns = decision
        if not admitted:
            raise self._refusal(scope, decision)
        if limit is not None:
            value = self._templates[limit] % (remaining, seconds_up(wait_ns))
            response.raw_headers += (self._policy, (b"ratelimit", value))
            _INJECTED.set(response)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The limits of a route: the refusals, and what all its answers say of them."""
        return offer_of(self._limits, self._by, None, fields=True, is_denying=self._is_denying)

    def _refusal(self, scope: Scope, decision: Decision) -> Exception:
        if scope["type"] == "websocket" and "websocket.http.response" not in (
            scope.get("extensions") or {}
        ):
            return WebSocketException(TRY_AGAIN_LATER, "rate limit")
        if decision.limit is None:
            detail = "requests cannot be counted at the moment"
            return RateLimited(503, detail, {"Retry-After": "1"}, "rate_limit_unavailable")
        seconds = seconds_up(decision.wait_ns)
        value = self._templates[decision.limit] % (decision.remaining, seconds)
        fields = {
            "Retry-After": str(seconds),
            "RateLimit-Policy": self._policy[1].decode(),
            "RateLimit": value.decode(),
        }
        detail = f"too many requests, try again in {seconds} s"
        return RateLimited(429, detail, fields, "rate_limited")

    def _route_name(self, scope: Scope, route: object) -> str:
        """The full template and the endpoint: the same in every process, whatever the method."""
        endpoint = scope.get("endpoint")
        function = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
        path, module = getattr(route, "path", ""), getattr(endpoint, "__module__", "")
        name = f"{path} {module}.{function} "
        if route is not None:
            # the route is kept, so that no other one gets its number
            self._names[id(route)] = (route, name)
            _tell_by(route)
        return name


def _tell_by(route: Any) -> None:
    """Have the endpoint of a route put the limits' fields on a `Response` of its own."""
    dependant = getattr(route, "dependant", None)
    call = getattr(dependant, "call", None)
    if dependant is not None and call is not None and not isinstance(call, _Telling):
        dependant.call = _Telling(call)


class _Telling:
    """An endpoint, whose `Response` gets the fields that its limits have said."""

    def __init__(self, call: Callable[..., Any]) -> None:
        functools.update_wrapper(self, call)
        self._call = call

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        injected = _INJECTED.get()
        found = self._call(*arguments, **options)
        if inspect.isawaitable(found):
            return self._later(found, injected)
        return _with_fields(found, injected)

    async def _later(self, waiting: Any, injected: Response | None) -> Any:
        return _with_fields(await waiting, injected)


def _with_fields(found: Any, injected: Response | None) -> Any:
    if injected is None or not isinstance(found, Response):
        return found
    # A copy: an endpoint may give one response to all requests.
    told = copy.copy(found)
    told.__dict__.pop("_headers", None)  # a view of the list that is left behind
    told.raw_headers = [
        *found.raw_headers,
        *(field for field in injected.raw_headers if field[0] in _FIELDS),
    ]
    return told
