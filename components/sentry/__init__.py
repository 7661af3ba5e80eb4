"""Errors of the service, sent to Sentry.

In: a DSN and what to tell. Out: the SDK at work, with its integration of Starlette and FastAPI, until
it is closed. Without a DSN nothing happens, and the SDK is not imported. Refused: what is no DSN.

What is sent holds no addresses and cookies of users, bodies and local variables only if asked for, and
no secrets as far as `components.sentry.scrub` knows them.

    resources:
      sentry: {use: components.sentry.init, with: {dsn: "${SENTRY_DSN:-}", environment: prod}}

Name it first: what is made after it is watched. The SDK has one client in a process, so this is not
for two applications in one.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from components.sentry.scrub import Scrubber

_NO_DSN = "`dsn` is no Sentry DSN like `https://key@host/1`"


class Sentry:
    """The SDK at work; closed, it can be opened again."""

    def __init__(self, start: Callable[[], None] | None, close_timeout: timedelta) -> None:
        self._start = start
        self._close_seconds = close_timeout.total_seconds()
        self._is_open = start is not None
        if start is not None:
            start()

    @property
    def is_on(self) -> bool:
        """Whether there is a DSN."""
        return self._start is not None

    async def open(self) -> None:
        """Begin again, where it was closed."""
        if self._start is not None and not self._is_open:
            self._start()
            self._is_open = True

    async def aclose(self) -> None:
        """Send what waits, for at most `close_timeout`, and end."""
        if not self._is_open:
            return
        self._is_open = False
        import sentry_sdk  # noqa: PLC0415  # only where there is a DSN

        client = sentry_sdk.get_client()
        sentry_sdk.get_global_scope().set_client(None)
        await asyncio.to_thread(client.close, timeout=self._close_seconds)


def _checked_dsn(dsn: str | SecretStr | None) -> str | SecretStr | None:
    text = dsn.get_secret_value() if isinstance(dsn, SecretStr) else dsn
    if text:
        from sentry_sdk.utils import BadDsn, Dsn  # noqa: PLC0415  # only where there is a DSN

        try:
            Dsn(text)
        except BadDsn:
            raise ValueError(_NO_DSN) from None
    return dsn


def init(
    *,
    dsn: Annotated[
        str | SecretStr | None,
        AfterValidator(_checked_dsn),
        Field(description="where to send; off without one"),
    ] = None,
    environment: Annotated[
        str | None, Field(max_length=64, description="SENTRY_ENVIRONMENT if none, or production")
    ] = None,
    release: Annotated[
        str | None,
        Field(max_length=200, description="if none, SENTRY_RELEASE or what the SDK finds"),
    ] = None,
    sample_rate: Annotated[float, Field(ge=0, le=1, description="share of errors sent")] = 1.0,
    traces_sample_rate: Annotated[
        float, Field(ge=0, le=1, description="share of requests whose times are sent")
    ] = 0.0,
    request_bodies: Annotated[
        Literal["never", "small", "medium", "always"],
        Field(
            description="the bodies of requests that are sent, by their size",
            json_schema_extra={"looser": "order:never,small,medium,always"},
        ),
    ] = "never",
    local_variables: Annotated[
        bool,
        Field(description="send the variables of a trace", json_schema_extra={"looser": "true"}),
    ] = False,
    scrub: Annotated[
        Sequence[str],
        Field(
            description="more words in names of fields that are taken out",
            json_schema_extra={"looser": "shorter"},
        ),
    ] = (),
    close_timeout: Annotated[
        timedelta, Field(ge=timedelta(0), description="how long the end sends what waits")
    ] = timedelta(seconds=2),
) -> Sentry:
    """Start Sentry at once, its reports scrubbed of secrets; as a resource it is also ended.

    Raises ValueError for what is no DSN (the text is not repeated: it holds a key).
    """
    address = dsn.get_secret_value() if isinstance(dsn, SecretStr) else dsn
    if not address:
        return Sentry(None, close_timeout)

    def start() -> None:
        _start(
            address,
            scrub=scrub,
            environment=environment,
            release=release,
            sample_rate=sample_rate,
            traces_sample_rate=traces_sample_rate,
            max_request_body_size=request_bodies,
            include_local_variables=local_variables,
        )

    return Sentry(start, close_timeout)


def _start(dsn: str, *, scrub: Sequence[str], **options: Any) -> None:
    import sentry_sdk  # noqa: PLC0415  # only where there is a DSN
    from sentry_sdk.integrations.fastapi import FastApiIntegration  # noqa: PLC0415  # as above
    from sentry_sdk.integrations.starlette import StarletteIntegration  # noqa: PLC0415  # as above
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415  # as above

    scrubber = Scrubber(scrub)
    try:
        sentry_sdk.init(
            dsn=dsn,
            # of the libraries that are installed it would import and patch all it knows
            auto_enabling_integrations=False,
            integrations=[StarletteIntegration(), FastApiIntegration()],
            before_send=scrubber,
            before_send_transaction=scrubber,
            **options,
        )
    except BadDsn:
        raise ValueError(_NO_DSN) from None
