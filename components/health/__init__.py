"""What a platform asks of a process: does it live, is it ready, has it started.

In: GET and HEAD requests; `app.state.assembly` where the application was assembled (`state`,
`degraded`, `checks`, `steps`), else `checks` of one's own. Out: `router`, with `/live` (no I/O),
`/ready`, `/startup` and `/details`, of which none is in OpenAPI or may be stored by a cache.
Refused: reasons, steps and ids to whoever does not have the token or, where there is none, is not
on this machine, as `components.health.access` says.

Readiness is 503 while the application starts or drains, or a critical resource does not answer,
and 200 with the word `degraded` where one is away that it can do without. In a bare Starlette
application the endpoints of `Health` are routes: `Route("/ready", Health().ready)`.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.health.access import Access, PrintableToken
from components.health.checks import Pings

_BEFORE = frozenset({"built", "starting", "failed"})
_REFUSED = {401: "unauthorized", 403: "forbidden", 429: "refused too often"}


def router(
    *,
    token: Annotated[
        SecretStr | None,
        PrintableToken,
        Field(
            description="bearer token that shows the details",
            json_schema_extra={"advised_min_length": 16},
        ),
    ] = None,
    loopback: Annotated[
        bool,
        Field(
            description="without a token, show the details to this machine, unless a proxy sent it",
            json_schema_extra={"looser": "true"},
        ),
    ] = True,
    checks: Annotated[
        Mapping[str, Callable[[], Awaitable[Any]]] | None,
        Field(description="more to ask: async functions by name; one that raises is away"),
    ] = None,
    timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for the answer of a check")
    ] = timedelta(seconds=1),
    cache: Annotated[
        timedelta, Field(ge=timedelta(0), description="how long the answers of checks are kept")
    ] = timedelta(seconds=1),
) -> APIRouter:
    """The routes `/live`, `/ready`, `/startup` and `/details`, for a prefix such as `/health`.

    Every resource that has a `ping` is asked, and the answers are kept for `cache`. Details are for who
    has the `token`; without one, for this machine, which a plain proxy on it seems to be: behind a
    proxy, set one.

    Raises ValueError where `token` is empty or not plain ASCII, or a time is not positive.
    """
    health = Health(token=token, loopback=loopback, checks=checks, timeout=timeout, cache=cache)
    made = APIRouter()
    for name in ("live", "ready", "startup", "details"):
        made.add_api_route(
            f"/{name}",
            getattr(health, name),
            methods=["GET", "HEAD"],
            include_in_schema=False,
            response_model=None,
        )
    return made


class Health:
    """The endpoints; what their checks said is kept for `cache`, for all requests together."""

    def __init__(
        self,
        *,
        token: SecretStr | None = None,
        loopback: bool = True,
        checks: Mapping[str, Callable[[], Awaitable[Any]]] | None = None,
        timeout: timedelta = timedelta(seconds=1),
        cache: timedelta = timedelta(seconds=1),
    ) -> None:
        self._access = Access(token, page="health", loopback=loopback)
        self._checks = dict(checks or {})
        self._pings = Pings(timeout=timeout, cache=cache)

    async def live(self, request: Request) -> Response:
        """The process answers; nothing is asked."""
        return _answer(200, {"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Whether requests may come: 200 `ready` or `degraded`, else 503."""
        status, reasons = await self._state(request)
        body: dict[str, Any] = {"status": status}
        if reasons and self._access.sees(request):
            body["reasons"] = reasons
        return _answer(200 if status in {"ready", "degraded"} else 503, body)

    async def startup(self, request: Request) -> Response:
        """Whether the start is over: 200 or 503; with its steps for who may see them."""
        assembly = _assembly(request)
        is_up = assembly is None or assembly.state not in _BEFORE
        body: dict[str, Any] = {"status": "started" if is_up else "starting"}
        if assembly is not None and self._access.sees(request):
            body["steps"] = assembly.as_dict()["steps"]
        return _answer(200 if is_up else 503, body)

    async def details(self, request: Request) -> Response:
        """All that the application tells of itself, for who may see it."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return _answer(refusal.status, {"status": _REFUSED[refusal.status]}, refusal.headers)
        status, reasons = await self._state(request)
        assembly = _assembly(request)
        own = {} if assembly is None else assembly.as_dict()
        return _answer(200, {**own, "status": status, "reasons": reasons})

    async def _state(self, request: Request) -> tuple[str, dict[str, str]]:
        """Return the word for the whole, and the reasons by the ids of what is away."""
        assembly = _assembly(request)
        if assembly is not None and assembly.state != "started":
            return "starting" if assembly.state in _BEFORE else "draining", {}
        degraded = {} if assembly is None else dict(assembly.degraded)
        known = {} if assembly is None else assembly.checks
        asked = {**known, **self._checks}
        reasons = await self._pings.reasons(
            {name: check for name, check in asked.items() if name not in degraded}
        )
        is_lost = any(getattr(asked[name], "critical", True) for name in reasons)
        status = "unavailable" if is_lost else "degraded" if reasons or degraded else "ready"
        return status, {**degraded, **reasons}


def _assembly(request: Request) -> Any:
    """Return the report of the application whose router this is, if it has one."""
    return getattr(request.app.state, "assembly", None)


def _answer(
    status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse(body, status, {"cache-control": "no-store", **(headers or {})})
