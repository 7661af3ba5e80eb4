"""A console in a bare application, over operations that say what a test wants."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from components.console import router

TOKEN = "correct-horse-battery"
NOW_MS = 1_900_000_000_000


class OrderError(ValueError):
    """As the assembler's own."""


class OperationsAwayError(Exception):
    """As the assembler's own."""


class Operations:
    """One replica, one resource, one job; `orders_given` is what was ordered."""

    def __init__(self) -> None:
        self.orders_given: list[dict[str, Any]] = []
        self.is_away = False
        self.routes = 3

    def store_state(self) -> dict[str, Any]:
        return {
            "kind": "postgresql",
            "shared": True,
            "away": "no answer" if self.is_away else None,
            "runs_kept": None,
            "orders_shared": True,
            "tables": None,
        }

    async def instances(self) -> list[dict[str, Any]]:
        resource = {"id": "db", "use": "shop.db", "note": None, "state": "open", "error": None}
        return [
            {
                "instance": f"host-{number}",
                "host": "host",
                "pid": number,
                "age_ms": 0,
                "version": "1.0",
                "digest": "d" * 64,
                "state": "started",
                "ready": True,
                "manifest": "shop.yaml",
                "started_ms": NOW_MS,
                "reloads": None,
                "resources": [resource],
                "background": [],
                "lazy": [],
                "levels": {},
                "done": {},
                "last_reload": None,
                "figures": {},
            }
            for number in (1, 2)
        ]

    async def jobs(self) -> dict[str, Any]:
        job = {
            "id": "<b>job</b>",
            "use": "shop.jobs.job",
            "cron": None,
            "every": "5s",
            "words": "",
            "timezone": "UTC",
            "next": ["2030-01-01T00:00:00+00:00"],
            "last": None,
            "failures": 2,
            "paused": None,
        }
        return {"enabled": True, "here": True, "unknown": None, "jobs": [job]}

    async def drift(self) -> dict[str, Any]:
        return {"known": True, "differs": False, "groups": []}

    async def explanation(self) -> dict[str, Any]:
        numbers = {
            "requests": 7,
            "errors": 1,
            "client_errors": 0,
            "p50_milliseconds": 1.5,
            "p99_milliseconds": 20.0,
        }
        route = {"id": "api", "methods": ["GET"], "endpoint": "shop.api.read", "figures": numbers}
        return {
            "figures": {"measured": True, "in_flight": 1, "websockets": 0, "unrouted": {}},
            "middleware": [{"id": "metrics", "use": "shop.Metrics", "figures": numbers}],
            "handlers": [],
            "routes": [{**route, "path": f"/things/{number}"} for number in range(self.routes)],
        }

    async def runs(self, job: str, **query: Any) -> list[dict[str, Any]]:
        if self.is_away:
            raise OperationsAwayError("no answer within 2 s")
        if job != "<b>job</b>":
            raise OrderError(f"no job is called `{job}`")
        return [
            {
                "job": job,
                "tick": "2029-12-31T00:00:00+00:00",
                "attempt": 1,
                "owner": "here",
                "run_id": "r1",
                "outcome": "failed",
                "started": None,
                "finished": None,
                "lag_milliseconds": 1,
                "milliseconds": 20,
                "error": f"<i>{query['states']}</i>",
            }
        ]

    async def limits(self) -> list[dict[str, Any]]:
        return [
            {
                "layer": "per-ip",
                "use": "shop.Limit",
                "name": "default",
                "quota": 500,
                "period_seconds": 60,
                "admitted": 1,
                "refused": 2,
                "refused_keys": [{"hash": "abc123", "refused": 2}],
            }
        ]

    def options(self) -> list[dict[str, Any]]:
        return [
            {
                "section": "app",
                "path": "app.title",
                "value": '"${TITLE}"',
                "file": "shop.yaml",
                "line": 3,
            }
        ]

    def timeline(self) -> list[dict[str, Any]]:
        step = {"phase": "resource", "outcome": "ok", "error": None, "label": None, "detail": None}
        return [{"id": "db", "milliseconds": 12.0, "began": 0.5, **step}]

    def loggers(self) -> list[dict[str, Any]]:
        return [{"name": "root", "level": "INFO", "effective": "INFO", "change": None}]

    async def orders(self, limit: int) -> list[dict[str, Any]]:
        return []

    async def order(
        self, kind: str, target: str, *, actor: str, value: str | None, lasts: timedelta | None
    ) -> Any:
        if self.is_away:
            raise OperationsAwayError("no answer within 2 s")
        if kind != "run":
            raise OrderError(f"no order is called `{kind}`")
        given = {"id": "0" * 32, "kind": kind, "target": target, "actor": actor}
        self.orders_given.append({**given, "value": value, "lasts": lasts})
        return SimpleNamespace(id=given["id"], as_dict=lambda: given)


class Site:
    """The application, and clients of it."""

    def __init__(self, *, token: str | None = None, actions: bool = False) -> None:
        self.operations = Operations()
        self.app = FastAPI(title="Shop & Co")
        self.app.state.assembly = SimpleNamespace(state="started", operations=self.operations)
        secret = None if token is None else SecretStr(token)
        self.app.include_router(router(token=secret, actions=actions), prefix="/_assembly")

    def client(self, *, peer: str = "127.0.0.1", base: str = "http://127.0.0.1:8000") -> TestClient:
        return TestClient(self.app, base, client=(peer, 5000), follow_redirects=False)
