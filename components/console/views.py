"""What an application tells of itself → the data of each page, which is also the answer for programs.

In: `app.state.assembly.operations`, the parameters of a request. Out: plain data. Refused, as
`BadQueryError`: a parameter that says nothing here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.datastructures import QueryParams

Data = dict[str, Any]
View = Callable[[Any, Mapping[str, str]], Awaitable[Data]]

ROUTES_PER_PAGE = 100
OPTIONS_PER_PAGE = 200
FAILURES = ("failed", "timeout", "lost", "missed")
STATES = (
    *FAILURES,
    "ok",
    "running",
    "queued",
    "cancelled",
    "replaced",
    "skipped",
)
PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "all": None,
}
MOST_RUNS = 500


class BadQueryError(ValueError):
    """A parameter of a request that cannot be read."""


async def overview(operations: Any, query: Mapping[str, str]) -> Data:
    """Replicas, resources and jobs; whether all run the same; what became of the last reload."""
    instances = await operations.instances()
    jobs = await operations.jobs()
    return {
        "instances": [_instance(each) for each in instances],
        "resources": _resources(instances),
        "background": _by_id(instances, "background"),
        "lazy": _by_id(instances, "lazy"),
        "jobs": jobs,
        "drift": await operations.drift(),
        "reload": _last_reload(instances),
    }


async def explain(operations: Any, query: Mapping[str, str]) -> Data:
    """The trip of a request with its numbers: all layers, and the routes that `q` finds, by pages."""
    told = await operations.explanation()
    words = query.get("q", "").lower().split()
    routes = [route for route in told["routes"] if _fits(route, words)]
    if query.get("order") == "requests" and told["figures"]["measured"]:
        routes.sort(key=lambda route: -route["figures"]["requests"])
    page, pages = _page(query, len(routes), ROUTES_PER_PAGE)
    first = (page - 1) * ROUTES_PER_PAGE
    return {
        "figures": told["figures"],
        "middleware": told["middleware"],
        "handlers": told["handlers"],
        "routes": routes[first : first + ROUTES_PER_PAGE],
        "found": len(routes),
        "total": len(told["routes"]),
        "page": page,
        "pages": pages,
    }


async def jobs(operations: Any, query: Mapping[str, str]) -> Data:
    """The jobs: clock, next fires, last run, failures of a day."""
    told: Data = await operations.jobs()
    return told


async def runs(operations: Any, query: Mapping[str, str]) -> Data:
    """Runs of one job, by state (`failures` is all that went wrong) and by time.

    Raises `BadQueryError`.
    """
    known = [job["id"] for job in (await operations.jobs())["jobs"]]
    job = query.get("job") or (known[0] if known else "")
    state, period = query.get("state", ""), query.get("period", "all")
    if state not in {"", "failures", *STATES}:
        raise BadQueryError(f"`state` is `failures` or one of {', '.join(STATES)}")
    if period not in PERIODS:
        raise BadQueryError(f"`period` is one of {', '.join(PERIODS)}")
    span = PERIODS[period]
    since = _moment(query, "since") or (datetime.now(UTC) - span if span else None)
    states: Sequence[str] = FAILURES if state == "failures" else (state,) if state else ()
    found = []
    if job:
        found = await operations.runs(
            job,
            states=states,
            since=since,
            until=_moment(query, "until"),
            limit=_number(query, "limit", 100, MOST_RUNS),
        )
    return {"job": job, "jobs": known, "state": state, "period": period, "runs": found}


async def limits(operations: Any, query: Mapping[str, str]) -> Data:
    """Each rate limit: what it admitted and refused, and whom most, by hash."""
    return {"limits": await operations.limits()}


async def start(operations: Any, query: Mapping[str, str]) -> Data:
    """The steps of the start of the process that answers."""
    return {"steps": operations.timeline()}


async def options(operations: Any, query: Mapping[str, str]) -> Data:
    """Where each value of the manifest came from; references stay as they are written."""
    words = query.get("q", "").lower().split()
    every = operations.options()
    found = [
        each
        for each in every
        if all(word in f"{each['path']} {each['value']} {each['file']}".lower() for word in words)
    ]
    page, pages = _page(query, len(found), OPTIONS_PER_PAGE)
    first = (page - 1) * OPTIONS_PER_PAGE
    return {
        "options": found[first : first + OPTIONS_PER_PAGE],
        "found": len(found),
        "total": len(every),
        "page": page,
        "pages": pages,
    }


async def loggers(operations: Any, query: Mapping[str, str]) -> Data:
    """The loggers of the process that answers, and the changes of level that end by themselves."""
    words = query.get("q", "").lower().split()
    found = [
        each for each in operations.loggers() if all(word in each["name"].lower() for word in words)
    ]
    return {"loggers": found}


async def orders(operations: Any, query: Mapping[str, str]) -> Data:
    """What operators ordered, and what became of it."""
    return {"orders": await operations.orders(_number(query, "limit", 100, MOST_RUNS))}


VIEWS: Mapping[str, View] = {
    "overview": overview,
    "explain": explain,
    "jobs": jobs,
    "runs": runs,
    "limits": limits,
    "start": start,
    "options": options,
    "loggers": loggers,
    "orders": orders,
}
"""By the names of their pages, and of what follows `/api/`."""


def plain(query: QueryParams) -> dict[str, str]:
    """Return the parameters of a request that are not empty, each once; `of` names a page."""
    return {name: value for name, value in query.items() if value and name != "of"}


def _instance(each: Data) -> Data:
    """Leave out what other parts of the answer have."""
    left = {"figures", "resources", "background", "lazy", "done", "levels", "last_reload"}
    return {key: value for key, value in each.items() if key not in left}


def _resources(instances: Sequence[Data]) -> list[Data]:
    """Return each resource once: in how many processes it is open, and where and why it is not."""
    found: dict[str, Data] = {}
    for each in instances:
        for resource in each["resources"]:
            known = found.setdefault(
                resource["id"],
                {
                    "id": resource["id"],
                    "use": resource["use"],
                    "note": resource["note"],
                    "state": "open",
                    "open": 0,
                    "processes": 0,
                    "errors": [],
                },
            )
            known["processes"] += 1
            if resource["state"] in {"open", "given"}:
                known["open"] += 1
                continue
            known["state"] = resource["state"]
            known["errors"].append({"instance": each["instance"], "error": resource["error"]})
    return list(found.values())


def _by_id(instances: Sequence[Data], part: str) -> list[Data]:
    found: dict[str, Data] = {}
    for each in instances:
        for item in each[part]:
            known = found.setdefault(item["id"], {"id": item["id"], "processes": []})
            known["processes"].append({"instance": each["instance"], **item})
    return list(found.values())


def _last_reload(instances: Sequence[Data]) -> Data | None:
    told = [each["last_reload"] for each in instances if each.get("last_reload")]
    return max(told, key=lambda reload: str(reload["at"]), default=None)


def _fits(route: Data, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = f"{route['id']} {' '.join(route['methods'])} {route['path']} {route['endpoint']}".lower()
    return all(word in text for word in words)


def _page(query: Mapping[str, str], number: int, size: int) -> tuple[int, int]:
    pages = max(1, -(-number // size))
    return min(_number(query, "page", 1, 10**6), pages), pages


def _number(query: Mapping[str, str], name: str, otherwise: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text)):
        raise BadQueryError(f"`{name}` is a number from 1 to {most}")
    return min(int(text), most)


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    if text[-6:-5] == " ":  # a `+` that was not written as `%2B`
        text = f"{text[:-6]}+{text[-5:]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQueryError(f"`{name}` is a time such as `2027-03-28T09:00:00+00:00`") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
