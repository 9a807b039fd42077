"""ARCHITECTURE.md says what is there: its files exist, its classes exist, and no word has two meanings."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
GLOSSARY = TEXT[TEXT.index("## Glossary") :]
FORMER = {
    *(
        "Book",
        "Desk",
        "Envelope",
        "Findings",
        "Gate",
        "Heat",
        "Inverse",
        "Layout",
        "Line",
        "Load",
        "Looks",
        "Lot",
    ),
    *("Outage", "Place", "Queue", "Ranks", "Scope", "Settling", "Suspect", "Window"),
}
"""Words that once had several meanings, or that the field calls something else."""


def classes() -> set[str]:
    return {
        node.name
        for package in ("engine", "connectors", "bench")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }


def test_every_class_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", TEXT))
    assert named
    assert named <= classes()


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/decisions.md", "docs/connectors.md"])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        assert any(f"/{path}".endswith(f"/{name}") for path in paths), f"{page} names {name}"


def test_a_word_of_the_glossary_has_one_meaning() -> None:
    words = [
        word for row in re.findall(r"^\| \*\*(.+?)\*\*", GLOSSARY, re.MULTILINE) for word in row.split(", ")
    ]
    assert len(words) == len(set(words)) > 30


def test_words_that_had_several_meanings_name_no_class() -> None:
    assert classes() & FORMER == set()
