"""Queues of log records are emptied, though nobody but us starts their listeners."""

import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import pytest

from assembler.runtime import log_queue
from tests.servers import free_port

ROOT = Path(__file__).parents[3]


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.thread: threading.Thread | None = None
        self.gate: threading.Event | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.gate is not None:
            self.gate.wait(20)
        self.thread = threading.current_thread()
        self.texts.append(record.getMessage())


class Queued(QueueHandler):
    """As `dictConfig` makes one from Python 3.12 on."""

    def __init__(self, handler: Kept) -> None:
        super().__init__(queue.SimpleQueue())
        self.listener = QueueListener(self.queue, handler)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger whose handlers, and what listens to them, are gone after the test."""
    found = logging.getLogger("tests.log_queue")
    yield found
    log_queue.flush(restart=False)
    found.handlers.clear()


def options(handler: Kept) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"queued": {"()": lambda: Queued(handler)}},
        "loggers": {"tests.log_queue": {"level": "INFO", "handlers": ["queued"]}},
    }


def test_a_listener_runs_and_is_flushed_and_runs_on(logger: logging.Logger) -> None:
    kept = Kept()
    log_queue.configure(options(kept))
    logger.info("one")
    log_queue.flush()
    assert kept.texts == ["one"]
    assert kept.thread is not threading.current_thread()
    logger.info("two")
    log_queue.flush()
    assert kept.texts == ["one", "two"]


def test_another_configuration_ends_the_listeners_of_the_last_one(logger: logging.Logger) -> None:
    first, second = Kept(), Kept()
    log_queue.configure(options(first))
    logger.info("one")
    log_queue.configure(options(second))
    assert first.texts == ["one"]
    logger.info("two")
    log_queue.flush()
    assert (first.texts, second.texts) == (["one"], ["two"])
    assert first.thread is not None
    assert not first.thread.is_alive()


def test_a_handler_that_hangs_keeps_nobody(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "_LONGEST_SECONDS", 0.05)
    kept = Kept()
    kept.gate = threading.Event()
    log_queue.configure(options(kept))
    logger.info("one")
    log_queue.flush()
    assert kept.texts == []
    kept.gate.set()


def test_a_listener_that_runs_already_is_left_alone(logger: logging.Logger) -> None:
    kept = Kept()
    handler = Queued(kept)
    handler.listener.start()
    log_queue.configure({**options(kept), "handlers": {"queued": {"()": lambda: handler}}})
    log_queue.flush(restart=False)
    logger.info("one")
    handler.listener.stop()
    assert kept.texts == ["one"]


MANIFEST = """\
manifest: 1
logging:
  version: 1
  handlers:
    file: {class: logging.FileHandler, filename: PATH}
    queued: {class: logging.handlers.QueueHandler, handlers: [file], respect_handler_level: true}
  root: {level: INFO, handlers: [queued]}
startup: [{id: noted, use: steps.note}]
shutdown: [{id: ended, use: steps.note}]
server: {port: PORT}
"""
STEPS = """\
import logging, os, signal


def note() -> None:
    logging.getLogger("steps").info("noted")
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig makes no listeners before 3.12")
def test_what_a_queue_handler_of_the_manifest_holds_is_written_when_a_signal_ends_the_server(
    tmp_path: Path,
) -> None:
    text = MANIFEST.replace("PATH", str(tmp_path / "log")).replace("PORT", str(free_port()))
    (tmp_path / "m.yaml").write_text(text, "utf-8")
    (tmp_path / "steps.py").write_text(STEPS, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "serve", "m.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    written = (tmp_path / "log").read_text("utf-8")
    assert "noted" in written, done.stderr
    assert "and was unwound" in written or "stopped" in written
