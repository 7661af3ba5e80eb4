"""Two OpenAPI documents → a comparison that every form of `diff` prints.

In: documents that somebody has committed. Out: a `Comparison` whose findings say who breaks: who calls,
or who reads answers. Nothing is built, imported or fetched. Raises `UsageError` where the schemas are
too many to compare.
"""

from assembler.review.diff.change import ABSENT
from assembler.review.finding import Comparison, Grade
from assembler.review.openapi.changes import Changes, PartPair
from assembler.review.openapi.document import ApiDocument
from assembler.review.openapi.operations import OperationChanges
from assembler.review.openapi.schemas import Schemas
from assembler.review.openapi.security import Security

_JUDGED = {"openapi", "info", "tags", "paths", "webhooks", "components", "security", "servers"}


def compare_documents(old: ApiDocument, new: ApiDocument) -> Comparison:
    """Compare two documents of OpenAPI 3."""
    changes = Changes(old, new)
    pair = PartPair(old.data, new.data)
    schemas, security = Schemas(changes), Security(changes)
    operations = OperationChanges(changes, schemas, security)
    operations.paths(pair.at("paths"))
    operations.paths(pair.at("webhooks"), kind="webhook", sends=False)
    shared = pair.at("components")
    changes.mapping(shared, "components")
    security.schemes(shared.at("securitySchemes"))
    _servers(changes, pair.at("servers"))
    schemas.run()
    changes.rest(pair, "the document", _JUDGED)
    findings = changes.findings()
    if not findings and pair.differs:
        text = "texts, examples, or what nobody uses differ"
        changes.add(Grade.cosmetic, "api-text", "the document", text, pair)
        findings = changes.findings()
    return Comparison(new.name, old.name, new.name, findings)


def _servers(changes: Changes, pair: PartPair) -> None:
    """Compare the servers; without any there is the one that gives the document."""
    old, new = changes.sequence(pair, "servers")
    urls = [{_url(item): at for at, item in enumerate(side)} for side in (old, new)]
    for url, before in urls[0].items():
        after = urls[1].get(url)
        where = f"server `{url}`"
        if after is not None:
            changes.rest(pair.at(before, after), where, {"url"})
        else:
            inside = PartPair(old[before], ABSENT, (*pair.old_at, before), pair.new_at)
            changes.add(Grade.review, "api-server", where, "is gone", inside)
    for url in (one for one in urls[1] if one not in urls[0]):
        inside = PartPair(ABSENT, new[urls[1][url]], pair.old_at, (*pair.new_at, urls[1][url]))
        changes.add(Grade.compatible, "api-server", f"server `{url}`", "is new", inside)


def _url(server: object) -> str:
    return str(server.get("url", "/")) if isinstance(server, dict) else str(server)
