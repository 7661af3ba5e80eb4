"""Ticks from an outside clock: a router that runs jobs of the manifest when it is told to.

In: `POST /jobs/{id}/tick` with a bearer secret, from Google Cloud Scheduler, AWS EventBridge, a
crontab with curl, or anything else that keeps the time, so that a service which scales to zero has
jobs, too. Out: the job's run, within the request, under the same claim that the service's own
clock makes: a tick that is sent twice, or is run elsewhere, runs once. Refused: a request without
the secret, an unknown job, a tick that is still to come.

The time of the tick is taken from `X-CloudScheduler-ScheduleTime`, from the `time` of an
EventBridge event, or else is now. The job's latest tick up to then is meant. The router finds what
runs jobs at `app.state.assembly.jobs`, or is given it.
"""

import hmac
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_HEADER = "x-cloudscheduler-scheduletime"
_LARGEST_BODY = 64 * 1024  # bytes; an event has some hundreds
_WELL = frozenset({"ok", "taken", "skipped", "missed", "paused"})
_NO_STORE = {"cache-control": "no-store"}


def tick_router(
    *,
    secret: Annotated[
        SecretStr,
        Field(min_length=16, description="what the clock sends as `Authorization: Bearer …`"),
    ],
    jobs: Annotated[
        Any, Field(description="what runs them, where there is no manifest: has `tick(id, at)`")
    ] = None,
) -> APIRouter:
    """Ticks of jobs from an outside clock, such as Cloud Scheduler or EventBridge.

    Answers 200 with the outcome (`ok`, `taken`, `skipped`, `missed`, `paused`), 202 where workers
    run it (`queued`), 500 where the run did not end well, which a clock may send again to no harm:
    the tick was run. 503 asks for that: nothing was run, as the store of claims is away. 401, 404
    and 422 are the caller's faults.

    Raises ValueError for a secret of less than 16 characters.
    """
    if len(secret.get_secret_value()) < 16:
        raise ValueError("`secret` must have at least 16 characters")
    expected = secret.get_secret_value().encode()
    router = APIRouter()

    @router.post("/jobs/{id:path}/tick", include_in_schema=False)
    async def tick(id: str, request: Request) -> Response:
        if not hmac.compare_digest(_bearer(request), expected):
            raise HTTPException(401, "unauthorized", {"www-authenticate": "Bearer"})
        runner = jobs if jobs is not None else _jobs_of(request)
        if runner is None:
            raise HTTPException(503, "no jobs run here", {"retry-after": "5"})
        try:
            result = await runner.tick(id, await _time_of(request))
        except KeyError:
            raise HTTPException(404, "no such job") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except Exception as error:  # the store is away, or the process stops
            reason = f"not run: {type(error).__name__}"
            raise HTTPException(503, reason, {"retry-after": "5"}) from error
        content = {
            "job": result.job,
            "tick": result.fire_time.isoformat(),
            "outcome": result.outcome,
            "run_id": result.run_id,
        }
        status = 202 if result.outcome == "queued" else 200 if result.outcome in _WELL else 500
        return JSONResponse(content, status, _NO_STORE)

    return router


def _bearer(request: Request) -> bytes:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def _jobs_of(request: Request) -> Any:
    return getattr(getattr(request.app.state, "assembly", None), "jobs", None)


async def _time_of(request: Request) -> datetime | None:
    """Return when the clock meant to send this; None where it does not say. Raises ValueError."""
    text = request.headers.get(_HEADER)
    if text is None:
        text = _event_time(await _body(request))
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"`{text}` has no offset")
    return moment


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise ValueError("the body is too large")
    return body


def _event_time(body: bytes) -> str | None:
    try:
        event = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        return None  # some other clock's own text
    time = event.get("time") if isinstance(event, dict) else None
    return time if isinstance(time, str) else None
