"""Topics: each is told, leads on to what is there, and shows what the format takes."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

import assembler.describe.topics
from assembler.adopt.equality.rules import RULES as DIFFERENCES
from assembler.cli.commands import COMMANDS
from assembler.describe.topics import TOPICS, text_of, topics_of
from assembler.diagnostics.codes import CODES
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import File
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode
from assembler.document.parser import read
from assembler.manifest import Manifest
from assembler.manifest.validate import read_manifest
from assembler.review.audit.table import RULES
from tests.assembler.command import run

ROOT = Path(__file__).parents[3]
PAGES = {
    **{name: (ROOT / name).read_text("utf-8") for name in ("README.md", "manifests/README.md")},
    **{name: text_of(name) for name in TOPICS},
}
SECTIONS = Manifest.model_fields.keys()


def test_each_topic_has_a_text_and_each_text_a_topic() -> None:
    folder = Path(assembler.describe.topics.__file__).parent
    assert {path.stem for path in folder.glob("*.md")} == set(TOPICS)


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_fits_a_terminal_and_hides_no_other_name(name: str) -> None:
    assert all(len(line) <= 98 for line in text_of(name).splitlines())
    assert name not in {*SECTIONS, *CODES, *RULES, *DIFFERENCES}
    assert len(f"  {name:19}{TOPICS[name].summary}") <= 100
    shown = run("describe", name, folder=ROOT)
    assert (shown.status, shown.err) == (0, "")
    assert all(line.strip() in shown.out for line in text_of(name).splitlines())


def test_without_a_name_the_topics_are_listed(tmp_path: Path) -> None:
    shown = run("describe", folder=tmp_path)
    assert (shown.status, shown.err) == (0, "")
    named = re.findall(r"(?m)^  ([a-z-]+) +(\S.*)$", shown.out)
    assert dict(named) == {name: topic.summary for name, topic in TOPICS.items()}
    facts = json.loads(run("describe", "--format", "json", folder=tmp_path).out)
    assert facts["topics"] == dict(named)
    assert run("describe", "--snippet", folder=tmp_path).status == 2


def test_all_codes_are_told(tmp_path: Path) -> None:
    facts = json.loads(run("describe", "codes", "--format", "json", folder=tmp_path).out)
    assert facts["rows"] == dict(CODES)
    shown = " ".join(run("describe", "codes", folder=tmp_path).out.split())
    assert [code for code, meaning in CODES.items() if f"{code} {meaning}" not in shown] == []


@pytest.mark.parametrize("name", sorted({name for one in TOPICS.values() for name in one.sections}))
def test_the_page_of_a_section_leads_to_its_topics(name: str) -> None:
    assert name in SECTIONS
    shown = run("describe", name, folder=ROOT)
    assert all(f"`assembler describe {topic}`" in shown.out for topic in topics_of(name))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_to_ask_is_answered(page: str) -> None:
    said = re.findall(r"`(?:assembler )?describe ([a-z][\w.-]*)`", PAGES[page])
    named = said + re.findall(r"describe [\w-]+`, `([\w-]+)`\)", PAGES[page])
    assert [name for name in named if not answered(name)] == []


@cache
def answered(name: str) -> bool:
    return run("describe", name, folder=ROOT).status == 0


@pytest.mark.parametrize("page", PAGES)
def test_the_calls_of_a_page_are_of_commands_with_such_options(page: str) -> None:
    spans = re.findall(r"`assembler ([^`]+)`|(?m:^\$ assembler (.+)$)", PAGES[page])
    for call in ("".join(pair).partition(" | ")[0].split() for pair in spans):
        if not call[0].islower() or call[0].startswith("--"):  # `assembler COMMAND --help`
            continue
        used = {word for word in call[1:] if word.startswith("--")}
        assert used <= {*COMMANDS[call[0]].options, "--help"}, call


@pytest.mark.parametrize("page", PAGES)
def test_the_yaml_of_a_page_is_what_the_format_takes(page: str) -> None:
    fenced = re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL)
    indented = re.findall(r"(?m)^(?:    .*\n)+", f"{PAGES[page]}\n")
    for text in [*fenced, *(re.sub(r"(?m)^    ", "", each) for each in indented)]:
        if text.partition(":")[0] not in SECTIONS and not text.startswith("#"):
            continue
        whole = text if "manifest: 1" in text else f"manifest: 1\n{text}"
        whole = whole if "app:" in whole else f"{whole}app: {{title: Shop}}\n"
        root = read(File("page.yaml", whole))
        assert isinstance(root, MappingNode)
        _, faults = read_manifest(root, Resolver(None, None, Secrets()))
        assert [fault.message for fault in faults] == []
