"""The URL of a JSON Web Key Set (RFC 7517) -> its keys, kept fresh.

In: the `kid` and algorithm that a token names. Out: the public key. The set is fetched by the first
token, again in the background when it is `ttl` old, and again for a `kid` that is not in it, but at
most once per `refresh_interval`, whoever makes up ids. One fetch serves all who wait, in a task
that the request which began it does not own.

Refuses, as `UnknownKey`, a key that the set does not have; as `KeysUnavailable` any key while the
set cannot be fetched and none is known that is fresh enough: then nobody knows. Takes from the set
only public signature keys: P-256 for ES256, and RSA of 2048 bits or more for RS256.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2
    import jwt  # at run time only when the first token comes

logger = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_SMALLEST_RSA_BITS = 2048
_STALE_SECONDS = 3600.0  # how long keys outlive their `ttl` while the set cannot be fetched

Keys = dict[tuple[str | None, str], "jwt.PyJWK"]


class UnknownKey(Exception):  # noqa: N818  # reads as what happened
    """The set has no such key."""


class KeysUnavailable(Exception):  # noqa: N818  # as above
    """The set cannot be fetched; it is tried again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the keys cannot be fetched")
        self.seconds = max(1, math.ceil(seconds))


class KeySet:
    """The keys at `url`; the clock is monotonic, in seconds."""

    def __init__(
        self,
        url: str,
        *,
        ttl: timedelta,
        refresh_interval: timedelta,
        deadline: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._ttl = ttl.total_seconds()
        self._interval = refresh_interval.total_seconds()
        self._deadline = deadline.total_seconds()
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at = self._tried_at = -math.inf
        self._has_failed = False
        self._task: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> "jwt.PyJWK":
        """The key of a token; raises `UnknownKey` or `KeysUnavailable`."""
        age = self._clock() - self._fetched_at
        found = self._find(kid, algorithm)
        if found is not None and age < self._ttl + _STALE_SECONDS:
            if age >= self._ttl:
                self._refreshing()  # in the background: this token need not wait
            return found
        task = self._refreshing()
        if task is not None:
            await asyncio.wait({task})
        if self._has_failed:
            raise KeysUnavailable(self._tried_at + self._interval - self._clock())
        found = self._find(kid, algorithm)
        if found is None:
            raise UnknownKey
        return found

    async def aclose(self) -> None:
        """End a fetch that runs."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _find(self, kid: str | None, algorithm: str) -> "jwt.PyJWK | None":
        if kid is not None:
            return self._keys.get((kid, algorithm))
        # A token may leave out its `kid` where there is nothing to choose from.
        fitting = [key for (_, known), key in self._keys.items() if known == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _refreshing(self) -> "asyncio.Task[None] | None":
        """The fetch that runs, or a new one; None where the last one is too young."""
        if self._task is None or self._task.done():
            if self._clock() - self._tried_at < self._interval:
                return None
            self._tried_at = self._clock()
            self._task = asyncio.create_task(self._refresh())
        return self._task

    async def _refresh(self) -> None:
        self._has_failed = True  # until it went well: a fetch may be cancelled
        try:
            body = await self._fetched()
            self._keys = await asyncio.to_thread(_keys_in, body)
        except Exception as error:  # whatever a network, TLS or a server may do
            logger.warning("the keys at %s cannot be fetched: %s", self.url, type(error).__name__)
            logger.debug("why", exc_info=True)
            return
        self._has_failed = False
        self._fetched_at = self._clock()
        if not self._keys:
            logger.warning("the set at %s has no key for ES256 or RS256", self.url)

    async def _fetched(self) -> bytes:
        body = b""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with asyncio.timeout(self._deadline):
            client = await asyncio.to_thread(_client)  # reading the trusted roots takes 60 ms
            async with client, client.stream("GET", self.url, headers=headers) as response:
                if response.status_code != 200:
                    raise ValueError(f"status {response.status_code}")
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise ValueError("too large")
        return body


def _client() -> "httpx2.AsyncClient":
    import httpx2  # noqa: PLC0415  # only where keys are fetched, and in a thread

    return httpx2.AsyncClient()


def _keys_in(body: bytes) -> Keys:
    """The usable keys of a set; one that is not usable is passed over, as RFC 7517 (5) says."""
    keys: Keys = {}
    for item in json.loads(body)["keys"][:_MOST_KEYS]:
        algorithm = _algorithm_of(item)
        key = algorithm and _key_of(item, algorithm)
        if algorithm and key:
            kid = item.get("kid")
            keys[kid if isinstance(kid, str) else None, algorithm] = key
    return keys


def _algorithm_of(item: Any) -> str | None:
    if not isinstance(item, dict) or item.get("use", "sig") != "sig" or "d" in item:
        return None
    is_p256 = item.get("kty") == "EC" and item.get("crv") == "P-256"
    algorithm = "ES256" if is_p256 else "RS256" if item.get("kty") == "RSA" else None
    return algorithm if item.get("alg", algorithm) == algorithm else None


def _key_of(item: dict[str, Any], algorithm: str) -> "jwt.PyJWK | None":
    import jwt  # noqa: PLC0415  # takes 160 ms, and a first token waits for it in a thread

    try:
        key = jwt.PyJWK(item, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    bits = getattr(key.key, "key_size", 0)
    return None if algorithm == "RS256" and bits < _SMALLEST_RSA_BITS else key
