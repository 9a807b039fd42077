"""The file of dead letters: every line whole, none doubled, none lost."""

import json

import pytest

from engine.batch import DeadLetter
from engine.errors import JobError
from engine.state.dead_letters import DeadLetterFile, lines, read
from tests.support.states import a_letter

AT = "2026-01-02T03:04:05.000Z"


def test_a_line_keeps_the_item_to_the_letter(tmp_path):
    item = '{"PK":{"S":"a\\u0000b"},"n":{"N":"12345678901234567890.123456789"}}'
    letter = DeadLetter("Order", "number_range", "n: “1E+999”", {"id": "7", "part": None}, item)
    text = lines("run-1", AT, [letter, a_letter("8", "key_empty", None)])
    assert text.count(b"\n") == 2
    assert item.encode() in text
    path = tmp_path / "dead-letters.jsonl"
    path.write_bytes(text)
    first, second = read(path)
    assert (first.source_key, first.item, first.at) == ({"id": "7", "part": None}, json.loads(item), AT)
    assert (second.reason, second.item) == ("key_empty", None)


def test_an_item_over_several_lines_becomes_one():
    text = lines("run-1", AT, [a_letter("1", item_json='{\n "PK": {"S": "a\\nb"}\n}')])
    assert text.count(b"\n") == 1
    assert json.loads(text)["item"] == {"PK": {"S": "a\nb"}}


def test_a_reason_out_of_the_contract_is_a_bug():
    with pytest.raises(AssertionError, match="no dead letter has the reason"):
        lines("run-1", AT, [a_letter("1", "dog_ate_it")])


def test_an_append_replaces_what_an_interrupted_one_left(tmp_path):
    file = DeadLetterFile(tmp_path / "dead-letters.jsonl")
    length = file.append(b"one\n", 0)
    file.append(b"two, but its checkpoint failed\n", length)
    assert file.append(b"three\n", length) == len(b"one\nthree\n")
    assert file.path.read_bytes() == b"one\nthree\n"


def test_no_letters_make_no_file(tmp_path):
    file = DeadLetterFile(tmp_path / "dead-letters.jsonl")
    assert file.append(b"", 0) == 0
    assert not file.path.exists()
    assert list(read(file.path)) == []


def test_a_line_that_is_none_is_told(tmp_path):
    path = tmp_path / "dead-letters.jsonl"
    path.write_bytes(lines("run-1", AT, [a_letter("1")]) + b'{"run_id": "r\n')
    with pytest.raises(JobError, match=r"line 2 of .*dead-letters\.jsonl isn't a dead letter"):
        list(read(path))
