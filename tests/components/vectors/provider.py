"""A server that speaks OpenAI's embeddings API, with faults on demand."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from components.vectors.hashed import HashedEmbeddings

Fault = Callable[[list[str]], Response | None]


@dataclass
class Provider:
    """Embeds by hashing; `fault` may answer in its place, `delay_seconds` makes it slow."""

    dimensions: dict[str, int] = field(default_factory=lambda: {"small": 64})
    fault: Fault = lambda texts: None
    delay_seconds: float = 0
    calls: list[list[str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        asked = json.loads(await request.body())
        self.calls.append(asked["input"])
        self.models.append(asked["model"])
        await asyncio.sleep(self.delay_seconds)
        response = self.fault(asked["input"])
        if response is None and asked["model"] not in self.dimensions:
            response = JSONResponse({"error": {"message": "no such model"}}, 404)
        if response is None:
            embedder = HashedEmbeddings(dimensions=self.dimensions[asked["model"]])
            vectors = await embedder.embed(asked["input"])
            # in another order, which the API allows
            data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)][::-1]
            response = JSONResponse({"data": data, "model": asked["model"]})
        await response(scope, receive, send)

    @property
    def texts(self) -> list[str]:
        """All texts that were asked for."""
        return [text for call in self.calls for text in call]
