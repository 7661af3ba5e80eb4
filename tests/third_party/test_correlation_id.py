"""asgi-correlation-id: a layer, options that are functions, and a filter of the log."""

import json

from starlette.testclient import TestClient

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"ids": {"()": "asgi_correlation_id.CorrelationIdFilter", "uuid_length": 8}},
    "formatters": {"plain": {"format": "%(correlation_id)s %(message)s"}},
    "handlers": {
        "console": {"class": "shop.Memory", "formatter": "plain", "filters": ["ids"]},
    },
    "loggers": {"shop": {"level": "INFO", "handlers": ["console"]}},
}
FILES = {
    "shop.py": """
import logging

from asgi_correlation_id import correlation_id
from fastapi import APIRouter

router = APIRouter()
logger = logging.getLogger("shop")
LINES = []


class Memory(logging.Handler):
    def emit(self, record):
        LINES.append(self.format(record))


def number():
    return "0123456789abcdef"


def is_short(text):
    return len(text) < 20


@router.get("/who")
async def who():
    logger.info("somebody asks")
    return [correlation_id.get(), LINES[-1]]


@router.get("/broken")
async def broken():
    raise RuntimeError
""",
    "main.py": f"""
import logging.config

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI

import shop

logging.config.dictConfig({LOGGING!r})
app = FastAPI()
app.add_middleware(
    CorrelationIdMiddleware,
    header_name="X-Correlation-ID",
    generator=shop.number,
    validator=shop.is_short,
    transformer=None,
)
app.include_router(shop.router)
""",
    "manifest.yaml": f"""
manifest: 1
logging: {json.dumps(LOGGING)}
middleware:
  - use: asgi_correlation_id.CorrelationIdMiddleware
    with:
      header_name: X-Correlation-ID
      generator: shop.number
      validator: shop.is_short
      transformer: null
routes:
  - {{use: shop.router}}
""",
}


def test_an_id_is_made_taken_and_logged(client: TestClient) -> None:
    made = client.get("/who")
    assert made.json() == ["0123456789abcdef", "01234567 somebody asks"]
    assert made.headers["X-Correlation-ID"] == "0123456789abcdef"
    taken = client.get("/who", headers={"X-Correlation-ID": "mine"})
    assert taken.json() == ["mine", "mine somebody asks"]


def test_an_id_that_is_not_valid_is_not_taken(client: TestClient) -> None:
    answer = client.get("/who", headers={"X-Correlation-ID": "much too long to be taken"})
    assert answer.json()[0] == "0123456789abcdef"
