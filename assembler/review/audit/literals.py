"""Rules about credentials that stand in a manifest, or that the manifest shows to strangers.

In: a `Subject`. Out: sightings, whose words never repeat a value.
"""

from collections.abc import Iterator
from typing import get_args

from assembler.diagnostics.secrets import url_secrets
from assembler.document.address import address_of
from assembler.document.interpolation import Reference, parse
from assembler.document.nodes import NodePath, ScalarNode, walk
from assembler.review.audit.item import Item, first_line
from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject
from assembler.review.credentials import (
    IsSecret,
    defaulted_secrets,
    is_secret_place,
    is_secret_variable,
    issued,
    literal_text,
    secret_scalars,
    sql_passwords,
)


def secret_test(subject: Subject) -> IsSecret:
    """Return what tells whether the value at a path is a secret, by names and by signatures."""
    typed = {
        (*item.path, "with", name)
        for item in subject.items
        if item.options.members
        for name in _typed(subject, item)
    }

    def is_secret(path: NodePath) -> bool:
        return is_secret_place(path) or any(path[:length] in typed for length in (4, 5))

    return is_secret


def _literals(subject: Subject) -> Iterator[Sighting]:
    is_secret = secret_test(subject)
    for path, node in secret_scalars(subject.root, is_secret):
        text = literal_text(node.value)
        by_name = is_secret(path) and not any(True for _ in defaulted_secrets(node.value))
        if (by_name or any(True for _ in url_secrets(text))) and not issued(text):
            where = address_of(subject.root, path)
            message = f"`{where}` has a secret written into it"
            yield Sighting(first_line(node.span), message)


def _issued(subject: Subject) -> Iterator[Sighting]:
    for path, node in _texts(subject):
        if issued(literal_text(node.value)):
            message = f"`{address_of(subject.root, path)}` has a key in it that a service issued"
            yield Sighting(first_line(node.span), message)


def _defaults(subject: Subject) -> Iterator[Sighting]:
    for _, node in _texts(subject):
        for reference in defaulted_secrets(node.value):
            message = f"`{reference.name}` has a default"
            yield Sighting(first_line(node.span), message)


def _public(subject: Subject) -> Iterator[Sighting]:
    for path, node in _texts(subject):
        if path[0] != "app" or not isinstance(node.value, str):
            continue
        for part in parse(node.value):
            if isinstance(part, Reference) and is_secret_variable(part.name.rpartition(".")[2]):
                where = address_of(subject.root, path)
                message = f"`{where}` shows what `{part.name}` holds to all who read the API"
                yield Sighting(first_line(node.span), message)


def _in_sql(subject: Subject) -> Iterator[Sighting]:
    for step in subject.sql[0]:
        for statement in step.statements:
            if sql_passwords(statement.text):
                message = f"`{statement.label}` sets a password that stands in the statement"
                yield Sighting(first_line(statement.span), message)


def _texts(subject: Subject) -> Iterator[tuple[NodePath, ScalarNode]]:
    for path, node in walk(subject.root):
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and path:
            yield path, node


def _typed(subject: Subject, item: Item) -> Iterator[str]:
    """Yield the options whose parameter is a secret of pydantic's."""
    target = subject.target(item)
    if isinstance(target, str):
        return
    for name, parameter in target.signature.parameters.items():
        if name in item.options.members and _is_secret_type(parameter.annotation):
            yield name


def _is_secret_type(annotation: object) -> bool:
    if getattr(annotation, "__name__", "") in {"SecretStr", "SecretBytes", "Secret"}:
        return True
    return any(_is_secret_type(part) for part in get_args(annotation) if not isinstance(part, str))


RULES = (
    AuditRule(
        "literal-secret",
        "high",
        "who can read the repository, its history or a build's log has it as well",
        "write a reference such as `${DATABASE_PASSWORD}`, and change the secret",
        _literals,
        SERVED,
    ),
    AuditRule(
        "issued-key",
        "high",
        "a key in a repository works for everyone who ever gets a copy, wherever it is used",
        "revoke it, and write a reference to a variable",
        _issued,
    ),
    AuditRule(
        "secret-with-default",
        "high",
        "where the variable is forgotten, the service runs with a secret that everyone knows",
        "leave the default out, so that a start without it is refused",
        _defaults,
        SERVED,
    ),
    AuditRule(
        "secret-in-openapi",
        "high",
        "what `app` says stands in the OpenAPI document, which is for strangers",
        "take the reference out",
        _public,
    ),
    AuditRule(
        "secret-in-sql",
        "high",
        "statements stand in the repository, and in the logs of the database",
        "create roles outside the manifest, where the password is kept",
        _in_sql,
    ),
)
