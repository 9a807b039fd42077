"""What a catch-up run from the log deletes: keys that old rows made and no row makes now."""

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.batch import Batch, EncodedBatch
from engine.contracts.readback import Hashes
from engine.errors import JobError
from engine.kinds import Scalar
from engine.rules.old_keys import WithOldKeys, old_keys
from engine.rules.transform import compile_rules
from engine.run.superseded import STAYS, Superseded
from tests.support.items import encoder
from tests.support.rules import batch, job, schema

KINDS = {"id": Scalar.INT, "v": Scalar.STRING, "n": Scalar.STRING}
ITEM: dict[str, Any] = {
    "when": "v <> 'hidden'",
    "key": {"PK": "V#{v}", "SK": "ID#{id}"},
    "attributes": {"n": {"value": "{n}", "as": "N"}},
}


def superseded(
    *rows: tuple[str, str | None, str | None],
    old: int,
    rules: tuple[dict[str, Any], ...] = (ITEM,),
    target: dict[str, Any] | None = None,
) -> EncodedBatch:
    """Encode rows of which the first are old ones, and leave out what isn't to be deleted."""
    of, made_job, target = schema(KINDS), job(*rules, target=target), target or {}
    old_rules = old_keys(made_job, of, DOCUMENTS)
    now = compile_rules(made_job, of, None, DOCUMENTS)
    with_old = WithOldKeys(now, old_rules.made, old_rules.keys)
    encode, plain = encoder(**target).encode, encoder().encode
    made = batch({name: (KINDS[name], [row[at] for row in rows]) for at, name in enumerate(KINDS)})

    def keys_of(batch: Batch, rule: str) -> Hashes:
        return plain(batch, with_old.keys(batch, rule)).key_hashes

    whole = replace(made, old=old)
    return Superseded(keys_of).of(encode(whole, with_old(whole)))


def sent(encoded: EncodedBatch) -> set[str]:
    """Return the keys that are put with a +, and those that are deleted with a -."""
    found = set()
    for at in range(len(encoded)):
        entry = json.loads(encoded.item(at))
        key = entry["PutRequest"]["Item"] if "PutRequest" in entry else entry["DeleteRequest"]["Key"]
        found.add(f"{'+' if 'PutRequest' in entry else '-'}{key['PK']['S']} {key['SK']['S']}")
    assert encoded.emitted == len(encoded) + len(encoded.dead_letters) + encoded.coalesced + encoded.skipped
    return found


def test_a_key_that_changed_is_deleted_and_one_that_stayed_is_not() -> None:
    found = superseded(("1", "a", "1"), ("2", "c", "2"), ("1", "b", "1"), ("2", "c", "3"), old=2)
    assert sent(found) == {"-V#a ID#1", "+V#b ID#1", "+V#c ID#2"}
    assert found.coalesced == 0


def test_to_another_key_and_back_deletes_only_what_lay_between() -> None:
    assert sent(superseded(("1", "a", "1"), ("1", "b", "1"), ("1", "a", "2"), old=2)) == {
        "+V#a ID#1",
        "-V#b ID#1",
    }


def test_a_row_that_no_rule_is_about_any_more_loses_its_item() -> None:
    assert sent(superseded(("1", "a", "1"), ("1", "hidden", "1"), old=1)) == {"-V#a ID#1"}


def test_old_rows_without_a_key_give_neither_deletes_nor_letters() -> None:
    found = superseded(("1", None, "1"), ("1", "a", "1"), old=1)
    assert sent(found) == {"+V#a ID#1"}
    assert not found.dead_letters


def test_an_item_that_cannot_be_written_keeps_its_key_and_its_letter_says_so() -> None:
    found = superseded(("1", "a", "1"), ("2", "b", "2"), ("1", "a", "no number"), old=2)
    assert sent(found) == {"-V#b ID#2"}
    (letter,) = found.dead_letters
    assert letter.detail.endswith(STAYS)
    assert letter.source_key == {"id": "1"}


def test_a_letter_of_one_rule_keeps_no_key_of_another() -> None:
    other = {"when": "n = '1'", "key": {"PK": "N#{id}", "SK": "N"}}
    found = superseded(("1", "a", "1"), ("1", "a", "no number"), old=1, rules=(ITEM, other))
    assert sent(found) == {"-N#1 N"}


def test_a_batch_without_old_rows_is_left_alone() -> None:
    assert sent(superseded(("1", "a", "1"), old=0)) == {"+V#a ID#1"}


VERSIONED = {**ITEM, "attributes": {"n": {"value": "{n}", "as": "N"}, "v": "{v}"}}
NEWER = {"mode": "newer", "version": "n"}


def requests(encoded: EncodedBatch) -> dict[str, tuple[str, str]]:
    """Return by key what is compared, and with what."""
    found = {}
    for at in range(len(encoded)):
        entry = json.loads(encoded.item(at))
        key = entry.get("Item") or entry["Key"]
        ((_, version),) = entry["ExpressionAttributeValues"][":v"].items()
        sign = entry["ConditionExpression"].split()[-2]
        found[f"{'+' if 'Item' in entry else '-'}{key['PK']['S']}"] = (sign, version)
    return found


def test_in_mode_newer_a_delete_takes_the_version_that_the_row_had() -> None:
    found = superseded(("1", "a", "4"), ("1", "b", "5"), old=1, rules=(VERSIONED,), target=NEWER)
    assert requests(found) == {"-V#a": ("<=", "4"), "+V#b": ("<", "5")}
    soft = {**VERSIONED, "delete_when": "v = 'b'"}
    found = superseded(("1", "a", "4"), ("1", "b", "5"), old=1, rules=(soft,), target=NEWER)
    assert requests(found) == {"-V#a": ("<=", "4"), "-V#b": ("<", "5")}


def test_in_mode_newer_no_delete_of_an_old_row_goes_before_what_a_row_makes_now() -> None:
    """Whatever their versions are: equal, or even gone back."""
    rows = (("1", "a", "4"), ("1", "a", "9"), ("2", "b", "2"), ("2", "b", "3"), ("1", "a", "4"))
    found = superseded(*rows, old=4, rules=(VERSIONED,), target=NEWER)
    assert requests(found) == {"+V#a": ("<", "4"), "-V#b": ("<=", "3")}
    assert found.emitted == len(found)


def test_in_mode_newer_an_item_without_a_version_keeps_its_key() -> None:
    found = superseded(("1", "a", "4"), ("1", "a", None), old=1, rules=(VERSIONED,), target=NEWER)
    assert not len(found)
    assert found.dead_letters[0].detail.endswith(STAYS)


def test_the_columns_of_a_version_are_needed_of_old_rows() -> None:
    def needed(attributes: dict[str, Any], **rule: Any) -> frozenset[str]:
        made = job({"key": {"PK": "ID#{id}", "SK": "I"}, "attributes": attributes, **rule}, target=NEWER)
        return old_keys(made, schema(KINDS), DOCUMENTS).needed

    assert needed({"n": {"value": "{v}", "as": "N"}}) == {"id", "v"}
    assert needed({}, include="all") == {"id", "n"}
    with pytest.raises(JobError, match="computed by SQL"):
        needed({"n": {"sql": "v || '1'"}})


def test_what_keys_are_made_of_is_needed_and_nothing_else() -> None:
    listed = {"for_each": "n", "key": {"PK": "{id}", "SK": "{each.x}#{index}"}}
    kinds = KINDS | {"n": Scalar.STRING}
    assert old_keys(job(ITEM), schema(kinds), DOCUMENTS).needed == {"id", "v"}
    with pytest.raises(JobError, match="for_each"):  # of a text; its column counts all the same
        old_keys(job(listed), schema(kinds), DOCUMENTS)


def test_keys_behind_a_hook_have_to_be_kept_by_it() -> None:
    keeps = {"hook": "jobs:hook", "keeps": ["id"]}
    with pytest.raises(JobError, match=r"v comes out of transform jobs:hook.*keeps"):
        old_keys(job(ITEM, transform=keeps), schema(KINDS), DOCUMENTS)
    by_id = {"key": {"PK": "ID#{id}", "SK": "I"}}
    assert old_keys(job(by_id, transform=keeps), schema(KINDS), DOCUMENTS).needed == {"id"}
