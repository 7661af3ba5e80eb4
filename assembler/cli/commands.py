"""The table of commands: what each is called, where it is, what it does and which options it has.

It says this without importing any of them, so that the version, the help and the completion of a
shell cost no more than Python itself. A test holds it equal to the commands.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shutil import get_terminal_size
from textwrap import wrap as fill

from assembler.describe.topics import TOPICS


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `module` lies below `assembler.cli`; an option has the values it may take."""

    module: str
    summary: str
    example: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # what an argument may be, where it is no file


COMMANDS: Mapping[str, Command] = {
    "check": Command(
        "check",
        "Check manifests: text, shape, references, imports and options. Status 1 where one is wrong.",
        "assembler check manifests/*.yaml --static --format github",
        {
            "--static": (),
            "--format": ("text", "json", "github", "sarif", "gitlab"),
            "--no-cache": (),
        },
    ),
    "format": Command(
        "format",
        "Put manifests in canonical order and style, in place; comments and meaning stay.",
        "assembler format manifests/*.yaml --check",
        {"--check": (), "--diff": ()},
    ),
    "diff": Command(
        "diff",
        "Tell what a change of manifests means: looser, other behaviour, tighter, or cosmetic.",
        "assembler diff --base origin/main --fail-on review",
        {
            "--base": (),
            "--openapi": (),
            "--fail-on": (
                *("loosened", "breaks-callers", "breaks-readers", "review", "behaviour"),
                *("tightened", "compatible", "cosmetic", "never"),
            ),
            "--format": ("text", "json", "markdown", "github", "gitlab", "sarif", "html"),
            "--no-cache": (),
        },
    ),
    "audit": Command(
        "audit",
        "Tell what to think twice about: status 1 where it is grave, 2 where nobody could look.",
        "assembler audit manifests/prod.yaml --profile prod",
        {
            "--profile": ("dev", "test", "prod", "serverless"),
            "--fail-on": ("high", "medium", "low"),
            "--base": (),
            "--only-new": (),
            "--format": ("text", "json", "github", "gitlab", "sarif"),
            "--rules": (),
            "--no-cache": (),
        },
    ),
    "matrix": Command(
        "matrix",
        "Compare environments: a column for each manifest, gaps and differences marked.",
        "assembler matrix manifests/dev.yaml manifests/prod.yaml --format markdown",
        {
            "--whole": (),
            "--format": ("text", "markdown", "html", "json"),
        },
    ),
    "render": Command(
        "show",
        "Print the whole manifest of one environment, its overlays merged, its references as written.",
        "assembler render manifests/prod.yaml --explain resources.db.with",
        {
            "--explain": (),
            "--format": ("yaml", "json"),
        },
    ),
    "explain": Command(
        "show",
        "Draw the trip of a request: server, middleware from outside in, routes, handlers.",
        "assembler explain manifests/dev.yaml GET /api/v1/listings",
        {"--format": ("text", "json", "mermaid")},
    ),
    "routes": Command(
        "show",
        "List the routes, in the order in which they are tried.",
        "assembler routes manifests/dev.yaml --format json",
        {"--format": ("text", "json")},
    ),
    "openapi": Command(
        "openapi",
        "Print the OpenAPI document of an application, or tell whether a committed copy is stale.",
        "assembler openapi manifests/prod.yaml --check openapi.json",
        {"--format": ("json", "yaml"), "--check": ()},
    ),
    "jobs": Command(
        "jobs",
        "List the jobs: the clock of each in plain words, its next fires, its last run.",
        "assembler jobs manifests/prod.yaml --watch",
        {
            "--format": ("text", "json"),
            "--after": (),
            "--watch": (),
            "--interval": (),
        },
    ),
    "run-job": Command(
        "run_job",
        "Run a job once, now; status 1 where it fails.",
        "assembler run-job manifests/prod.yaml publish-posts --at 2027-03-28T09:00+01:00",
        {"--at": ()},
    ),
    "worker": Command(
        "worker",
        "Run what the clocks of a manifest have queued, on any number of machines.",
        "assembler worker manifests/prod.yaml --concurrency 8",
        {"--concurrency": (), "--once": ()},
    ),
    "test": Command(
        "test",
        "Start the application and send the requests of `expect`. Status 1 where one is not met.",
        "assembler test manifests/test.yaml --format junit",
        {"--format": ("text", "json", "junit")},
    ),
    "equal": Command(
        "equal",
        "Tell whether a manifest makes the application that is written: status 1 where it does not.",
        "assembler equal app.main:app manifests/app.yaml --accept error-answers",
        {
            "--accept": (),
            "--factory": (),
            "--lifespan": (),
            "--replay-writes": (),
            "--header": (),
            "--allow-network": (),
            "--env-file": (),
            "--format": ("text", "json"),
        },
    ),
    "components": Command(
        "components",
        "List what may stand in a manifest: what it does, what it needs, and the extra to install.",
        "assembler components rate limit --section middleware --section middleware",
        {"--section": (), "--package": (), "--format": ("text", "json"), "--no-cache": ()},
    ),
    "describe": Command(
        "describe",
        "Tell what something is: a topic, a component, its options, a section, an error code, a rule.",
        "assembler describe CORSMiddleware --snippet",
        {"--snippet": (), "--package": (), "--format": ("text", "json"), "--no-cache": ()},
        words=tuple(TOPICS),
    ),
    "schema": Command(
        "show",
        "Print the JSON Schema of the format, for editors.",
        "assembler schema > manifests/manifest.schema.json",
        {},
    ),
    "export": Command(
        "export",
        "Write the objects that run a manifest in Kubernetes: service, deployment, a cron job per job.",
        "assembler export manifests/prod.yaml --to kubernetes | kubectl apply -f -",
        {
            "--to": ("kubernetes",),
            "--name": (),
            "--image": (),
            "--namespace": (),
            "--secret": (),
            "--replicas": (),
            "--cpu": (),
            "--memory": (),
            "--port": (),
        },
    ),
    "sql": Command(
        "sql",
        "Show the startup SQL and what of it is applied; with `--apply`, apply it.",
        "assembler sql manifests/prod.yaml --apply",
        {
            "--apply": (),
            "--format": ("text", "json"),
        },
    ),
    "serve": Command(
        "serve",
        "Serve a manifest with uvicorn, by its `server` section; SIGHUP and `reload` let edits go live.",
        "assembler serve manifests/dev.yaml --reload",
        {"--reload": ()},
    ),
    "reload": Command(
        "reload",
        "Let what a manifest says now go live in the server that runs it, or leave all as it is.",
        "assembler reload manifests/prod.yaml --fail-on loosened",
        {
            "--to": (),
            "--fail-on": ("loosened", "review", "behaviour", "tightened", "cosmetic", "never"),
            "--socket": (),
            "--pid": (),
        },
    ),
    "drift": Command(
        "drift",
        "Tell whether what runs is what a manifest says: status 1 where not, 2 where nobody knows.",
        "assembler drift manifests/prod.yaml --url http://10.0.0.7:8000/health",
        {"--url": (), "--token": ()},
    ),
    "doctor": Command(
        "doctor",
        "Tell the versions of what matters, which break together, and which have known advisories.",
        "assembler doctor --format json",
        {"--format": ("text", "json")},
    ),
    "init": Command(
        "init",
        "Write a starting project: a commented manifest, a router, a test; nothing is overwritten.",
        "assembler init shop && cd shop && assembler serve manifests/dev.yaml",
        {},
    ),
    "adopt": Command(
        "adopt",
        "Write the manifest of an existing application, with a report of every call that made it.",
        "assembler adopt app.main:app -o manifests/app.yaml",
        {
            "--output": (),
            "--factory": (),
            "--env-file": (),
            "--prefer": ("ours",),
            "--split": (),
            "--write-main": (),
            "--apply": (),
            "--format": ("text", "json"),
        },
    ),
    "completion": Command(
        "completion",
        "Print what a shell runs to complete `assembler`: commands, options and their values.",
        'eval "$(assembler completion bash)"',
        words=("bash", "zsh", "fish"),
    ),
}

_MORE = """\
`assembler COMMAND --help` tells more, with an example. `assembler describe`
lists topics: reloading, jobs, own-components …"""
_WHOLE = {"--version": "Print the version.", "--help": "Show this message and exit."}


def overview(about: str) -> str:
    """Return the help of the whole command, as wide as the terminal and no wider than 100 columns."""
    width = min(get_terminal_size((80, 24)).columns, 100)
    lines = ["Usage: assembler COMMAND [OPTIONS] [ARGUMENTS]", "", *fill(about, width), ""]
    for title, rows in (("Options", _WHOLE), ("Commands", _summaries())):
        lines += [f"{title}:", *(line for row in rows.items() for line in _row(*row, width)), ""]
    return "\n".join([*lines, _MORE])


def completed(words: Sequence[str], *, shell: str) -> Iterator[str]:
    """Yield what may stand in the place of the last of `words`; with its meaning for zsh and fish."""
    *before, last = words or [""]
    for word, meaning in _candidates(before, last).items():
        if word.startswith(last):
            yield f"{word}\t{meaning}" if meaning and shell in {"zsh", "fish"} else word


def _candidates(before: Sequence[str], last: str) -> Mapping[str, str]:
    if not before:
        return {**_summaries(), **_WHOLE}
    row = COMMANDS.get(before[0])
    if row is None:
        return {}
    if len(before) > 1 and before[-1] in row.options:
        values = row.options[before[-1]]
        if values:
            return dict.fromkeys(values, "")
    name, is_assigned, _ = last.partition("=")  # `--format=js`
    if is_assigned:
        return {f"{name}={value}": "" for value in row.options.get(name, ())}
    if last.startswith("-"):
        return {name: "" for name in (*row.options, "--help") if name not in before}
    return dict.fromkeys(row.words, "")


def _summaries() -> dict[str, str]:
    return {name: row.summary for name, row in COMMANDS.items()}


def _row(name: str, meaning: str, width: int) -> list[str]:
    indent = max(map(len, COMMANDS)) + 4
    return fill(
        meaning, width, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent
    )
