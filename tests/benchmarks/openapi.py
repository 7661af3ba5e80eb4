"""What the OpenAPI document costs with what the stack adds to it, beside FastAPI's own.

In: nothing. Out: the time that each takes for 400 routes behind the layers and handlers of the shipped
service, and the ratio of pairs made one after the other.

Run: `python -m tests.benchmarks.openapi`.
"""

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import create_model

import assembler

ROUNDS = 9
ROUTES = 400
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Print the table."""
    os.environ.setdefault("PUBLIC_BASE_URL", "http://127.0.0.1:8000")
    app: Any = assembler.build(assembler.load(ROOT / "manifests/dev.yaml"))
    app.include_router(_routes(ROUTES - 31), prefix="/api/v1")
    pairs = [(_made(app, extend=True), _made(app, extend=False)) for _ in range(ROUNDS)]
    for name, index in (("whole", 0), ("FastAPI's", 1)):
        times = [pair[index][0] for pair in pairs]
        size = pairs[0][index][1]
        print(f"{name:>10}  {statistics.median(times):>7.1f} ms  {size / 1024:>7.0f} KiB")
    ratio = statistics.median(whole[0] / plain[0] for whole, plain in pairs)
    print(f"{ROUTES} routes: ratio of pairs {ratio:.2f} (at most 2)")


def _made(app: Any, *, extend: bool) -> tuple[float, int]:
    app.extends_openapi, app.openapi_schema = extend, None
    began = time.perf_counter()
    document = app.openapi()
    return (time.perf_counter() - began) * 1000, len(json.dumps(document))


def _routes(count: int) -> APIRouter:
    router = APIRouter()
    for number in range(count):
        model: Any = create_model(
            f"Item{number}", name=(str, ...), price=(int, 0), tags=(list[str], [])
        )

        def endpoint(item: Any, limit: int = 10) -> Any:
            return item

        endpoint.__annotations__ |= {"item": model, "return": model}
        endpoint.__name__ = f"make_item_{number}"
        router.add_api_route(f"/things{number}", endpoint, methods=["POST"])
    return router


if __name__ == "__main__":
    main()
