"""What is installed → what of it is known to break, to conflict, or to be open to an attack.

In: the version of each distribution, and what it requires. Out: `Trouble`, each with the version that
mends it. Nothing is imported and no network is asked: the two tables are those of `KNOWN_ON`, and
`assembler doctor` says that day, for what was found later is not in them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

KNOWN_ON = "2026-11-30"
"""The day on which the two tables were written."""

OWN = "fastapi-assembler"

WATCHED = (
    *(OWN, "fastapi", "starlette", "pydantic", "pydantic-core", "pydantic-settings"),
    *("uvicorn", "anyio", "h11", "httptools", "uvloop", "websockets", "gunicorn", "granian"),
    *("python-multipart", "itsdangerous", "jinja2", "typer", "click", "rich"),
    *("httpx", "httpx2", "urllib3", "requests", "idna", "certifi"),
    *("sqlalchemy", "greenlet", "asyncpg", "aiosqlite", "psycopg", "redis"),
    *("apscheduler", "procrastinate", "mcp", "pyjwt", "cryptography", "passlib", "bcrypt"),
    *("pillow", "prometheus-client", "sentry-sdk", "mangum"),
)
"""The distributions whose versions matter, in the order in which they are listed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two that break together, although their requirements let both in; `mended` ends it."""

    one: str
    other: str
    what: str
    mended: str
    source: str


@dataclass(frozen=True, slots=True)
class Advisory:
    """A published advisory: `affected` has the versions of the distribution, as pip writes them."""

    id: str
    affected: str
    what: str
    mended: str


PAIRS = (
    Pair(
        "typer<0.16",
        "click>=8.2",
        "`--help` of any command ends in a TypeError of `make_metavar`",
        "typer>=0.16",
        "https://github.com/PagerDuty/pagerduty-mcp-server/issues/14",
    ),
    Pair(
        "starlette<0.37",
        "httpx>=0.28",
        "`TestClient` ends in `Client.__init__() got an unexpected keyword argument 'app'`",
        "starlette>=0.37",
        "https://github.com/Kludex/starlette/issues/2781",
    ),
    Pair(
        "sqlalchemy<2.0.31",
        "python>=3.13",
        "the import ends in an AssertionError of `TypingOnly`",
        "sqlalchemy>=2.0.31",
        "https://github.com/sqlalchemy/sqlalchemy/issues/11334",
    ),
    Pair(
        "passlib<=1.7.4",
        "bcrypt>=5",
        "every hash ends in `password cannot be longer than 72 bytes`",
        "bcrypt<5",
        "https://github.com/pyca/bcrypt/issues/1079",
    ),
    Pair(
        "prometheus-fastapi-instrumentator<8",
        "starlette>=1",
        "`Router()` has no parameter `on_startup` any more",
        "prometheus-fastapi-instrumentator>=8",
        "https://github.com/trallnag/prometheus-fastapi-instrumentator/issues/355",
    ),
    Pair(
        "slowapi<=0.1.10",
        "fastapi>=0.137",
        "`default_limits` do not reach the routes of included routers; limits at a route hold",
        "fastapi<0.137",
        "https://github.com/laurentS/slowapi/issues/281",
    ),
)

ADVISORIES = (
    Advisory(
        "CVE-2024-24762",
        "fastapi<0.109.1",
        "a Content-Type of a form that stalls a regular expression",
        "0.109.1",
    ),
    Advisory(
        "CVE-2024-47874",
        "starlette<0.40.0",
        "form fields without bounds fill the memory",
        "0.40.0",
    ),
    Advisory(
        "CVE-2025-54121",
        "starlette<0.47.2",
        "a large upload blocks the event loop while it is written to disk",
        "0.47.2",
    ),
    Advisory(
        "CVE-2025-62727",
        "starlette>=0.39.0,<0.49.1",
        "a `Range` header that stalls files: quadratic time",
        "0.49.1",
    ),
    Advisory(
        "CVE-2026-48710",
        "starlette<1.0.1",
        "a malformed `Host` changes `request.url.path`, past checks that go by it",
        "1.0.1",
    ),
    Advisory(
        "CVE-2026-54283",
        "starlette>=0.4.1,<1.3.1",
        "limits of `request.form()` do not hold for urlencoded bodies",
        "1.3.1",
    ),
    Advisory(
        "CVE-2024-24762",
        "python-multipart<0.0.7",
        "a Content-Type of a form that stalls a regular expression",
        "0.0.7",
    ),
    Advisory(
        "CVE-2024-53981",
        "python-multipart<0.0.18",
        "a malformed boundary that stalls the event loop",
        "0.0.18",
    ),
    Advisory(
        "CVE-2026-24486",
        "python-multipart<0.0.22",
        "a file name that writes anywhere, under an upload folder of one's own",
        "0.0.22",
    ),
    Advisory(
        "CVE-2026-42561",
        "python-multipart<0.0.27",
        "headers of a part without bounds",
        "0.0.27",
    ),
    Advisory(
        "CVE-2026-53539",
        "python-multipart<0.0.30",
        "a body of semicolons that stalls the event loop: quadratic time",
        "0.0.30",
    ),
    Advisory(
        "CVE-2025-43859",
        "h11<0.16.0",
        "malformed chunks pass, which lets requests be smuggled past a proxy",
        "0.16.0",
    ),
    Advisory(
        "CVE-2022-32214",
        "httptools<0.5.0",
        "line ends that let requests be smuggled past a proxy",
        "0.5.0",
    ),
    Advisory("CVE-2020-7695", "uvicorn<0.11.7", "headers that split an answer", "0.11.7"),
    Advisory(
        "CVE-2024-1135",
        "gunicorn<22.0.0",
        "Transfer-Encoding that lets requests be smuggled past a proxy",
        "22.0.0",
    ),
    Advisory(
        "CVE-2022-29217",
        "pyjwt>=1.5.0,<2.4.0",
        "a public key that is taken as an HMAC secret",
        "2.4.0",
    ),
    Advisory("CVE-2024-53861", "pyjwt==2.10.0", "a part of the issuer is taken for it", "2.10.1"),
    Advisory(
        "CVE-2026-32597",
        "pyjwt<2.12.0",
        "critical header extensions that nobody knows are let pass",
        "2.12.0",
    ),
    Advisory("CVE-2026-48526", "pyjwt<2.13.0", "forged tokens are taken", "2.13.0"),
    Advisory(
        "CVE-2024-26130",
        "cryptography>=38.0.0,<42.0.4",
        "a PKCS#12 key that does not match ends the process",
        "42.0.4",
    ),
    Advisory(
        "CVE-2024-12797",
        "cryptography>=42.0.0,<44.0.1",
        "OpenSSL in its wheels does not check raw public keys of TLS",
        "44.0.1",
    ),
    Advisory(
        "CVE-2026-26007",
        "cryptography<46.0.5",
        "keys on SECT curves outside the subgroup are taken",
        "46.0.5",
    ),
    Advisory(
        "CVE-2024-34064",
        "jinja2<3.1.4",
        "keys of `xmlattr` that inject attributes",
        "3.1.4",
    ),
    Advisory("CVE-2024-56326", "jinja2<3.1.5", "`str.format` by a way around the sandbox", "3.1.5"),
    Advisory("CVE-2025-27516", "jinja2<3.1.6", "`|attr` leads out of the sandbox", "3.1.6"),
    Advisory(
        "CVE-2025-53366",
        "mcp<1.9.4",
        "a malformed request ends the server",
        "1.9.4",
    ),
    Advisory(
        "CVE-2025-53365",
        "mcp<1.10.0",
        "an exception in a session of streamable HTTP ends the server",
        "1.10.0",
    ),
    Advisory(
        "CVE-2025-66416",
        "mcp<1.23.0",
        "servers on this machine are open to pages by DNS rebinding",
        "1.23.0",
    ),
    Advisory(
        "CVE-2024-40647",
        "sentry-sdk>=2.0.0,<2.8.0",
        "variables reach subprocesses that were started without any",
        "2.8.0",
    ),
    Advisory(
        "CVE-2024-28219", "pillow<10.3.0", "a buffer that overflows in ICC profiles", "10.3.0"
    ),
    Advisory(
        "CVE-2025-48379",
        "pillow>=11.2.0,<11.3.0",
        "a buffer that overflows when DDS is written",
        "11.3.0",
    ),
    Advisory(
        "CVE-2024-37891",
        "urllib3>=2.0.0,<2.2.2",
        "Proxy-Authorization follows a redirect to another host",
        "2.2.2",
    ),
    Advisory(
        "CVE-2025-50181",
        "urllib3<2.5.0",
        "redirects are followed although a pool manager switches them off",
        "2.5.0",
    ),
    Advisory(
        "CVE-2025-66418",
        "urllib3>=1.24,<2.6.0",
        "a chain of compressions without bounds",
        "2.6.0",
    ),
    Advisory(
        "CVE-2024-35195",
        "requests<2.32.0",
        "a session that skipped verification once does so again",
        "2.32.0",
    ),
    Advisory(
        "CVE-2024-47081",
        "requests<2.32.4",
        "a URL that is given the credentials of another host in .netrc",
        "2.32.4",
    ),
    Advisory("CVE-2024-3651", "idna<3.7", "a name that stalls its encoding", "3.7"),
    Advisory(
        "CVE-2024-39689",
        "certifi>=2021.5.30,<2024.7.4",
        "roots of GLOBALTRUST are trusted",
        "2024.7.4",
    ),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a distribution: `mended` is the requirement that ends it."""

    kind: Literal["conflict", "pair", "advisory"]
    package: str
    version: str
    what: str
    mended: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return the keys that programs read."""
        return {name: getattr(self, name) for name in self.__slots__}


def installed(names: Iterable[str] = WATCHED) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def required(name: str) -> list[str]:
    """Return what a distribution requires, as it is written; nothing where it is not installed."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def troubles(
    versions: Mapping[str, str],
    *,
    python: str,
    required: Callable[[str], Iterable[str]] = required,
) -> list[Trouble]:
    """Return what is known of these versions, those that break first, then advisories.

    Args:
        versions: the version of each distribution that is installed, by its folded name.
        python: the version of Python.
        required: gives what a distribution requires, as it is written.
    """
    known = {**versions, "python": python}
    found = [*_conflicts(versions, required), *_pairs(known), *_advisories(known)]
    return list(dict.fromkeys(found))


def _conflicts(
    versions: Mapping[str, str], required: Callable[[str], Iterable[str]]
) -> Iterator[Trouble]:
    for name, its_version in versions.items():
        for line in required(name):
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                continue
            # Without an extra in mind: what is installed may be another's.
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            other = wanted.name.lower().replace("_", "-")
            if other in versions and _holds(wanted.specifier, versions[other]) is False:
                what = f"`{name} {its_version}` requires `{other}{wanted.specifier}`"
                mended = f"{other}{wanted.specifier}"
                yield Trouble("conflict", other, versions[other], what, mended, name)


def _pairs(known: Mapping[str, str]) -> Iterator[Trouble]:
    for pair in PAIRS:
        one, other = Requirement(pair.one), Requirement(pair.other)
        if _has(known, one) and _has(known, other):
            what = f"with `{other.name} {known[other.name]}` {pair.what}"
            yield Trouble("pair", one.name, known[one.name], what, pair.mended, pair.source)


def _advisories(known: Mapping[str, str]) -> Iterator[Trouble]:
    for advisory in ADVISORIES:
        affected = Requirement(advisory.affected)
        if _has(known, affected):
            name, mended = affected.name, f"{affected.name}>={advisory.mended}"
            yield Trouble("advisory", name, known[name], advisory.what, mended, advisory.id)


def _has(known: Mapping[str, str], wanted: Requirement) -> bool:
    return wanted.name in known and _holds(wanted.specifier, known[wanted.name]) is True


def _holds(specifier: SpecifierSet, text: str) -> bool | None:
    """Tell whether a version is one of those; None for one that nobody can compare."""
    try:
        return specifier.contains(Version(text), prereleases=True)
    except InvalidVersion:
        return None
