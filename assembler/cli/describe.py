"""`describe`: a name → all that is known of it: a topic, a component, an option, a section, a code, a rule.

In: a topic; an import path, with an option after it or not; a section of the format, with a key after it or
not; the code of an error; a rule of the audit or of `equal`; nothing, which lists the topics. Out: text,
JSON, or an entry for a manifest. Reads source and manifests, and runs nothing.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from textwrap import indent
from textwrap import wrap as fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli.check import NoCache
from assembler.cli.components import Packages, listed, read_project, shapes
from assembler.cli.output import ListFormat, show
from assembler.describe.topics import TOPICS, text_of, topics_of
from assembler.diagnostics.codes import CODES
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import printable
from assembler.diagnostics.suggest import did_you_mean

if TYPE_CHECKING:
    from assembler.describe.catalogue import CatalogueItem, Option
    from assembler.plan.static import SourceReader


def describe(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A topic, or without any the list of them; an import path, an option after it; a section, "
            "a key after it; a code; a rule.",
            show_default=False,
        ),
    ] = None,
    snippet: Annotated[
        bool, typer.Option("--snippet", help="Print an entry for a manifest instead.")
    ] = False,
    package: Packages = None,
    format: Annotated[ListFormat, typer.Option(help="How to print.")] = ListFormat.text,
    no_cache: NoCache = False,
) -> None:
    """Tell what something is: a topic, a component, its options, a section, an error code, a rule."""
    from assembler.plan.static.cache import kept

    if topic is None:
        if snippet:
            raise UsageError("`--snippet` needs the name of a component")
        text, facts = _topics()
    else:
        with kept(anew=no_cache):
            text, facts = _answer(topic, package or [], snippet=snippet)
    show(_json(facts) if format is ListFormat.json else text)


def _json(facts: dict[str, Any]) -> str:
    return json.dumps({"format": 1, **facts}, indent=2)


def _topics() -> tuple[str, dict[str, Any]]:
    """List the topics, and say what else may be asked for."""
    width = max(map(len, TOPICS)) + 2
    lines = ["topics", *(f"  {name:{width}}{topic.summary}" for name, topic in TOPICS.items())]
    lines += [
        "",
        "`assembler describe NAME` tells a topic; a section (`middleware`) or a key (`resources.on_error`);",
        "a component (`CORSMiddleware`), an option of it, or its module; an error code; a rule of the audit.",
        "`assembler components WORDS` finds them.",
    ]
    return "\n".join(lines), {"topics": {name: topic.summary for name, topic in TOPICS.items()}}


def _answer(topic: str, packages: list[str], *, snippet: bool) -> tuple[str, dict[str, Any]]:
    told = None if snippet else _of_the_table(topic) or _of_the_format(topic)
    if told is not None:
        return told
    if not snippet and (told := _module(topic, packages)) is not None:
        return told
    try:
        item, options = _named(topic, packages)
    except UsageError:
        told = None if snippet else _of_a_key(topic, packages)
        if told is None:
            raise
        return told
    if snippet:
        return _snippet(item, packages)
    from assembler.describe import handbook

    if options:
        option = _option(item, options)
        facts = {"path": item.path, "option": option.as_dict()}
        return handbook.as_option(item, option), facts
    findings = list(_findings(item))
    return handbook.as_page(item, findings), {**item.as_dict(), "audit": findings}


def _of_the_table(topic: str) -> tuple[str, dict[str, Any]] | None:
    """Tell a topic, a code or a rule; None where it is none."""
    from assembler.review.audit.table import RULES

    if topic in TOPICS:
        return _topic(topic)
    if topic in CODES:
        return f"error[{topic}]\n  {CODES[topic]}", {"code": topic, "meaning": CODES[topic]}
    if topic in RULES:
        rule = RULES[topic]
        where = ", ".join(sorted(rule.profiles))
        text = f"audit[{topic}]\n  {rule.severity}; judged for {where}\n  why: {rule.why}\n  fix: {rule.fix}"
        facts = {"rule": topic, "severity": rule.severity, "why": rule.why, "fix": rule.fix}
        return text, facts
    if "-" in topic:  # no component has one, and what follows is slow to import
        from assembler.adopt.equality.rules import RULES as DIFFERENCES

        if topic in DIFFERENCES:
            meaning = DIFFERENCES[topic].meaning
            return f"--accept {topic}\n  {meaning}", {"difference": topic, "meaning": meaning}
    return None


def _topic(name: str) -> tuple[str, dict[str, Any]]:
    body, rows = text_of(name), {}
    if name == "codes":
        rows = dict(CODES)
    elif name == "differences":
        from assembler.adopt.equality.rules import RULES as DIFFERENCES

        rows = {rule.name: rule.meaning for rule in DIFFERENCES.values()}
    width = max(map(len, rows), default=0) + 2
    wrapped = (
        line
        for word, meaning in rows.items()
        for line in fill(
            meaning, 98, initial_indent=f"{word:{width}}", subsequent_indent=" " * width
        )
    )
    text = indent("\n".join([body, *([""] if rows else []), *wrapped]), "  ")
    facts = {"topic": name, "summary": TOPICS[name].summary, "text": body}
    return f"{name}: {TOPICS[name].summary}\n\n{text}", facts | ({"rows": rows} if rows else {})


def _of_the_format(topic: str) -> tuple[str, dict[str, Any]] | None:
    """Tell what a section or a key of the format is; None where it is none."""
    from assembler.describe.handbook import as_format_page, format_page

    page = format_page(topic.split("."))
    if page is None:
        return None
    more = [f"`assembler describe {name}`" for name in topics_of(topic)]
    text = "\n\n".join([as_format_page(page), *([f"  more: {', '.join(more)}"] if more else [])])
    return text, page | ({"topics": list(topics_of(topic))} if more else {})


def _of_a_key(topic: str, packages: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Tell which entries and components have a key or an option of that name; None where none has."""
    from assembler.describe import handbook

    pages = [
        handbook.format_page(address.split(".")) for address in handbook.format_addresses(topic)
    ]
    told = {page["path"]: f"{page['type']}  {page['description']}" for page in pages if page}
    items = listed(packages)
    found = [(item, option) for item in items for option in item.options if option.name == topic]
    options = {
        f"{item.path}.{topic}": f"{option.type}  {option.description}" for item, option in found
    }
    if len(told) + len(options) == 1:
        name = next(iter([*told, *options]))
        return _of_the_format(name) or _answer(name, packages, snippet=False)
    lines = [f"{name}\n{indent(text, '    ')}" for name, text in (told | options).items()]
    facts = {"name": topic, "keys": list(told), "options": list(options)}
    return (printable("\n".join(lines)), facts) if lines else None


def _module(topic: str, packages: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Tell what a module says of itself, and what of it may stand in a manifest; None for no module."""
    from assembler.describe import handbook

    reader, _ = read_project()
    if "." not in topic or _kind(reader, topic) != "module":
        return None
    inside = [item for item in listed(packages) if item.path.startswith(f"{topic}.")]
    doc = str(reader.page(topic)["module_doc"] or "")
    if not inside and not doc:
        return None
    listing = handbook.as_list(inside) if inside else ""
    text = "\n\n".join(part for part in (topic, indent(doc, "  "), listing) if part)
    components = {item.path: item.summary for item in inside}
    return printable(text), {"module": topic, "description": doc, "components": components}


def _named(topic: str, packages: list[str]) -> "tuple[CatalogueItem, list[str]]":
    """Find the component that `topic` begins with, and what of it is an option."""
    from assembler.describe.catalogue import item_of

    reader, uses = read_project()
    parts = topic.replace(":", ".").split(".")
    for end in range(2, len(parts) + 1):
        path = ".".join(parts[:end])
        if _kind(reader, path) in {"class", "function", "attribute"}:
            return item_of(reader, path, uses), parts[end:]
    items = listed(packages)
    inside = [item for item in items if item.path.startswith(f"{topic}.")]
    if inside and _kind(reader, topic) == "module":
        raise UsageError(
            f"`{topic}` is a module: name one of {', '.join(f'`{item.path}`' for item in inside)}"
        )
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        found = [item for item in items if f".{item.path}".endswith(f".{name}")]
        if len(found) == 1:
            return found[0], parts[end:]
    from assembler.describe.catalogue import matching
    from assembler.review.audit.table import RULES

    words = topic if len(parts) == 1 and matching(items, topic) else "WORDS"
    known = [
        *TOPICS,
        *CODES,
        *RULES,
        *(name for item in items for name in (item.path, *_last(item))),
    ]
    remedy = did_you_mean(topic, known) or f"`assembler components {words}` finds components"
    raise UsageError(f"nothing is called `{topic}`: {remedy}")


def _found(path: str) -> "CatalogueItem | None":
    from assembler.describe.catalogue import item_of

    reader, uses = read_project()
    return item_of(reader, path, uses) if _kind(reader, path) in {"class", "function"} else None


def _last(item: "CatalogueItem") -> tuple[str]:
    return (item.path.rpartition(".")[2],)


def _kind(reader: "SourceReader", path: str) -> str | None:
    from assembler.plan.allow_list import ImportFault

    try:
        return str(reader.page(path)["kind"])
    except ImportFault:
        return None


def _option(item: "CatalogueItem", names: Sequence[str]) -> "Option":
    options, found = item.options, None
    for name in names:
        found = next((option for option in options if option.name == name), None)
        if found is None:
            remedy = did_you_mean(name, [option.name for option in options])
            takes = ", ".join(f"`{option.name}`" for option in options) or "none"
            more = remedy or f"it takes {takes}"
            raise UsageError(f"`{item.path}` has no option `{'.'.join(names)}`: {more}")
        options = found.fields
    assert found is not None  # noqa: S101  # there is a name
    return found


def _findings(item: "CatalogueItem") -> Iterator[str]:
    """Yield what the audit says of the entries that name the item, and its rules on such a layer."""
    from assembler.review.audit import audit
    from assembler.review.audit.rule import profile_of
    from assembler.review.audit.table import RULES

    places = {use.place for use in item.uses}
    told: dict[str, None] = {}
    for document, manifest in shapes() if places else ():
        report = audit(
            document, manifest, profile_of(document.path), today=datetime.now(UTC).date()
        )
        for finding in report.findings:
            place = f"{finding.span.file.name}:{finding.span.line}"
            names_it = any(
                use.id in finding.message or item.path in finding.message for use in item.uses
            )
            if place in places or names_it:
                told[f"{finding.severity}[{finding.rule}] {place}: {finding.message}"] = None
    yield from told
    words = (item.role or "").replace("-", " ")
    for rule in RULES.values() if words else ():
        text = f"{rule.id} {rule.why} {rule.fix}".replace("-", " ")
        if words in text and not any(f"[{rule.id}]" in each for each in told):
            yield f"{rule.severity}[{rule.id}] is judged: {rule.why}; {rule.fix}"


def _snippet(item: "CatalogueItem", packages: list[str]) -> tuple[str, dict[str, Any]]:
    from assembler.describe.snippet import snippet
    from assembler.document.dump import dump

    is_class = item.gives[:1] == (item.place,)
    if not item.sections and not is_class:
        raise UsageError(f"`{item.path}` stands in no section")
    section = None if item.sections else "resources"  # any object may be one
    part = snippet(item, listed(packages), section=section, find=_found)
    return dump([part]).rstrip("\n"), {"path": item.path, "snippet": part}
