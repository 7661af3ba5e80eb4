"""A process that serves → a row among those of its service, which says what it runs.

In: a plan, the store of the scheduler where there is one. Out: the fingerprint of the process, on
its report; with a store that keeps a table of instances a row of it, renewed every ten seconds and
withdrawn at the end. What the store does not take is told once, and asked again. Where the workers
of one server read the disk each, one that read something else than another says so.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from assembler.diagnostics.exceptions import failure_of
from assembler.plan.fingerprint import Fingerprint, env_files, fingerprint, loaded_modules
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import service_name
from assembler.runtime.report import log
from assembler.runtime.siblings import Siblings, is_worker

_BEAT_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
ALIVE_MS = 35_000  # since a row was renewed: three beats, and a little


class Registry:
    """The place of one process among its siblings; `store` may be None, or keep no instances."""

    def __init__(
        self, plan: Plan, store: Any, environment: Mapping[str, str], scrub: Any = str
    ) -> None:
        self.instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.fingerprint: Fingerprint | None = None
        self._plan = plan
        self._store = store if callable(getattr(store, "announce", None)) else None
        self._environment = environment
        self._scrub = scrub
        self._task: asyncio.Task[None] | None = None
        self._is_away = False
        self._siblings = Siblings(plan.digest)
        self._differing: list[str] = []

    def as_dict(self) -> dict[str, Any] | None:
        """Return what the process runs, None before that is known."""
        if self.fingerprint is None:
            return None
        return {
            "instance": self.instance,
            "siblings": self._differing,
            **self.fingerprint.as_dict(),
        }

    async def open(self, *, is_supervised: bool = False) -> None:
        """Begin; nobody waits for the hashes or for the store.

        Workers of a parent that gave them their snapshot differ by design while it reloads.
        """
        if not is_supervised and is_worker():
            self._siblings.join()
        self._task = asyncio.create_task(self._beat())

    async def aclose(self) -> None:
        """Withdraw."""
        task, self._task = self._task, None
        self._siblings.leave()
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if self._store is not None and not self._is_away:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ANSWER_SECONDS / 2):
                    await self._store.withdraw(service_name(self._plan.manifest), self.instance)

    async def _beat(self) -> None:
        self.fingerprint = await asyncio.to_thread(self._read)
        text = json.dumps(self.as_dict(), ensure_ascii=False)
        while True:
            self._compare()
            await self._announce(self.fingerprint.service, text)
            await asyncio.sleep(_BEAT_SECONDS)

    def _compare(self) -> None:
        """Say that a sibling read something else, when that begins and when it ends."""
        found = self._siblings.others()
        if found and found != self._differing:
            told = ", ".join(digest[:12] for digest in found)
            log(
                logging.WARNING,
                f"workers of this server run different manifests: {self._plan.digest[:12]} here, "
                f"{told} elsewhere; restart them together",
            )
        elif self._differing and not found:
            log(logging.INFO, "all workers of this server run the same manifest again")
        self._differing = found

    async def _announce(self, service: str, text: str) -> None:
        if self._store is not None:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._store.announce(service, self.instance, text)
            except Exception as error:  # noqa: BLE001  # a store of one's own may raise anything
                if not self._is_away:
                    reason = self._scrub(failure_of(error))
                    log(logging.WARNING, f"the table of instances is away: {reason}")
                self._is_away = True
            else:
                self._is_away = False

    def _read(self) -> Fingerprint:
        plan = self._plan
        return fingerprint(
            service_name(plan.manifest),
            plan.digest,
            plan.document,
            plan.sql,
            self._environment,
            loaded_modules(plan),
            env_files(plan),
        )
