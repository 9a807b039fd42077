"""Proofs that keys differ: what is proved, what isn't, and what the user is told."""

import pytest

from engine.errors import JobError
from engine.kinds import Column, Decimal, Document, ListOf, Scalar, StructOf
from engine.rules.uniqueness import KeyProof, key_proof
from tests.support.rules import job, schema

S = Scalar
KINDS = {
    "id": S.INT,
    "email": S.STRING,
    "name": S.STRING,
    "at": S.TIMESTAMPTZ,
    "day": S.DATE,
    "amount": Decimal(10, 2),
    "clock": S.TIME,
    "code": Column("code", S.STRING, width=2),
    "mood": Column("mood", S.STRING, signs="ahpsy"),
    "doc": Document(),
    "lines": ListOf(StructOf((("sku", S.STRING),))),
}
BY_ID = [frozenset({"id"})]
BY_EMAIL = [frozenset({"email"})]
BY_PAIR = [frozenset({"email", "id"})]


def proof(*keys, identities=BY_ID, unique=(), transform=None, word=False, **more) -> KeyProof:
    rules = [{"key": key, **more} for key in keys]
    return key_proof(job(*rules, transform=transform, unique=word), schema(KINDS, identities, unique=unique))


def reason(*keys, **more):
    return proof(*keys, **more).reason


@pytest.mark.parametrize(
    ("key", "identities"),
    [
        ({"PK": "{id}"}, BY_ID),
        ({"PK": "USER#{id}", "SK": "PROFILE"}, BY_ID),
        ({"PK": "USER#{email}", "SK": "ORDER#{at:%Y-%m-%d}#{id}"}, BY_ID),
        ({"PK": "FIXED", "SK": "{id:09d}"}, BY_ID),
        ({"PK": "{id}#{name}"}, BY_ID),
        ({"PK": "{name}#{id}"}, BY_ID),
        ({"PK": "{id}/{email}/{id}"}, BY_EMAIL),
        ({"PK": "{at}#{email}"}, BY_EMAIL),
        ({"PK": "{email}", "SK": "x{id}y"}, BY_PAIR),
        ({"PK": "{email}#{id}"}, BY_PAIR),
        ({"PK": "{amount}"}, [frozenset({"amount"})]),
        ({"PK": "A{name}", "SK": "B{email}C"}, BY_EMAIL),
        ({"PK": "{name}-{id}", "SK": "{email}"}, [frozenset({"name"}), frozenset({"email"})]),
    ],
)
def test_an_identity_that_can_be_read_out_of_the_key_is_a_proof(key, identities):
    assert reason(key, identities=identities) is None


@pytest.mark.parametrize(
    ("key", "identities"),
    [
        ({"PK": "USER#{email}", "SK": "ORDER#{at}"}, BY_ID),
        ({"PK": "{name}#{email}"}, BY_EMAIL),
        ({"PK": "{email}{id}"}, BY_PAIR),
        ({"PK": "{id}{id}"}, BY_ID),
        ({"PK": "{name}-{id}"}, BY_ID),
        ({"PK": "{id}0{name}"}, BY_ID),
        ({"PK": "{at:%Y-%m-%d}"}, [frozenset({"at"})]),
        ({"PK": "{doc}"}, [frozenset({"doc"})]),
        ({"PK": "{doc.id}"}, BY_ID),
        ({"PK": "{at:%B}#{name}#{id}#{email}"}, BY_PAIR),
        ({"PK": "{email}"}, BY_PAIR),
    ],
)
def test_what_could_be_told_apart_in_two_ways_is_no_proof(key, identities):
    assert "doesn't show which row" in reason(key, identities=identities)


def test_text_columns_hold_separators_too():
    # 'a#b' + 'c' and 'a' + 'b#c' are one text.
    assert reason({"PK": "{name}#{email}"}, identities=[frozenset({"name", "email"})]) is not None
    assert reason({"PK": "{name}", "SK": "{email}"}, identities=[frozenset({"name", "email"})]) is None


def test_a_unique_column_proves_though_it_may_be_null_since_no_key_holds_a_null():
    assert reason({"PK": "USER#{email}"}, identities=[], unique=BY_EMAIL) is None
    assert (
        reason({"PK": "R#{name}", "SK": "{email}"}, identities=[], unique=[frozenset({"name", "email"})])
        is None
    )
    assert reason({"PK": "R#{name}"}, identities=[], unique=[frozenset({"name", "email"})]) is not None


BY_REGION = [frozenset({"code", "name"})]
BY_MOOD = [frozenset({"mood", "name"})]
BY_DAY = [frozenset({"day", "name"})]


@pytest.mark.parametrize(
    ("key", "unique"),
    [
        ({"PK": "R#{code}#{name}"}, BY_REGION),
        ({"PK": "R#{code}{name}"}, BY_REGION),
        ({"PK": "{name}{code}"}, BY_REGION),
        ({"PK": "{mood}#{name}"}, BY_MOOD),
        ({"PK": "{day:%Y-%m-%d}{name}"}, BY_DAY),
        ({"PK": "{name}", "SK": "DAY#{day:%d.%m.%Y}"}, BY_DAY),
        ({"PK": "{name}", "SK": "DAY#{day:%F %Y}"}, BY_DAY),
        ({"PK": "{clock:%T.%f}"}, [frozenset({"clock"})]),
        ({"PK": "{at:%Y%m%d%H%M%S%f}"}, [frozenset({"at"})]),
    ],
)
def test_what_the_source_knows_of_its_texts_tells_columns_apart(key, unique):
    assert reason(key, unique=unique) is None


@pytest.mark.parametrize(
    ("key", "unique"),
    [
        ({"PK": "{mood}{name}"}, BY_MOOD),
        ({"PK": "{mood}s{name}"}, BY_MOOD),
        ({"PK": "{name}{email}{code}"}, BY_REGION),
        ({"PK": "{name}", "SK": "DAY#{day:%Y-%m}"}, BY_DAY),
        ({"PK": "{name}", "SK": "DAY#{day:%Y-%j}"}, BY_DAY),
        ({"PK": "{clock:%T}"}, [frozenset({"clock"})]),
        ({"PK": "{at:%Y-%m-%dT%H:%M:%S}"}, [frozenset({"at"})]),
    ],
)
def test_what_leaves_something_out_or_may_be_cut_in_two_ways_proves_nothing(key, unique):
    assert "doesn't show which row" in reason(key, identities=[], unique=unique)


def test_rules_must_differ_in_the_literals_of_one_key_attribute():
    user, order = {"PK": "USER#{id}", "SK": "PROFILE"}, {"PK": "USER#{id}", "SK": "ORDER#{id}"}
    assert reason(user, order) is None
    assert reason({"PK": "A#{id}"}, {"PK": "B#{id}"}) is None
    assert reason({"PK": "{id}#A"}, {"PK": "{id}#B"}) is None
    assert reason({"PK": "{id}", "SK": "ORDER"}, {"PK": "{id}", "SK": "ORDER#{id}"}) is None
    assert "Rule0 and Rule1 may give equal keys" in reason(user, user)
    assert reason({"PK": "A#{id}"}, {"PK": "A#{id}#{name}"}) is None
    assert reason({"PK": "A#{name}"}, {"PK": "A#{id}#{name}"}) is not None
    assert reason({"PK": "A{id}"}, {"PK": "{name}#{id}"}) is None
    assert reason({"PK": "A{email}"}, {"PK": "{name}#{id}"}) is not None
    assert reason({"PK": "{id}"}, {"PK": "A#{id}"}) is None  # no integer begins with an A
    assert reason({"PK": "{id}#{name}"}, {"PK": "A{name}#{id}"}) is None
    assert reason({"PK": "{id}"}, {"PK": "{id}#X"}) is None
    assert reason({"PK": "{code}#{id}"}, {"PK": "LONG#{id}"}) is None  # after two signs there is a #
    assert reason({"PK": "{code}#{id}"}, {"PK": "CO#{id}"}) is not None


def test_elements_of_a_list_need_their_index():
    assert reason({"PK": "{id}", "SK": "#{index}"}, for_each="lines") is None
    assert reason({"PK": "{id}", "SK": "{each.sku}#{index:03d}"}, for_each="lines") is None
    assert "which element of lines" in reason({"PK": "{id}", "SK": "{each.sku}"}, for_each="lines")


def test_a_row_may_be_told_though_its_element_is_not():
    told, untold = {"PK": "{id}", "SK": "{each.sku}"}, {"PK": "{email}", "SK": "{each.sku}"}
    assert proof(told, for_each="lines").rows_told
    assert not proof(untold, for_each="lines").rows_told
    assert not proof(told, told, for_each="lines").rows_told, (
        "one row's key by one rule is another's by the other"
    )


def test_columns_named_each_and_index_are_columns_without_for_each():
    found = key_proof(job({"key": {"PK": "{index}"}}), schema({"index": S.INT}, [frozenset({"index"})]))
    assert found.reason is None
    assert found.rules[0].shared == {"index"}


def test_the_reason_comes_with_what_to_do():
    pair = frozenset({"email", "day"})
    found = proof({"PK": "{name}"}, identities=BY_ID, unique=[pair])
    assert found.reason == "the key of rule Rule0 doesn't show which row an item is from"
    assert found.way_out == (
        "put {id} or {day} and {email} into it, set apart from what stands beside by a character that can't "
        "be in it"
    )
    assert "a primary key or a unique index" in proof({"PK": "{id}"}, identities=[]).way_out
    found = proof({"PK": "{id}"}, transform="jobs:hook")
    assert found.reason == "transform jobs:hook may give several rows one key"
    assert found.rules[0].shared == frozenset()


def test_each_rule_has_a_reason_of_its_own_and_all_together_have_one():
    found = proof({"PK": "A#{id}#"}, {"PK": "B#{name}"}, {"PK": "{name}#{id}#"})
    assert [rule.rule for rule in found.rules] == ["Rule0", "Rule1", "Rule2"]
    assert [rule.reason is None for rule in found.rules] == [True, False, True]
    assert found.between == "the rules Rule0 and Rule2 may give equal keys"
    assert found.reason == found.rules[1].reason
    assert found.way_out == found.rules[1].way_out
    alone = proof({"PK": "A#{id}", "SK": "{id}"}, {"PK": "{name}", "SK": "{id}"})
    assert alone.reason == alone.between
    assert alone.way_out == "begin their partition or sort keys with different texts"


def test_what_can_be_read_out_of_a_key_is_shared_by_rows_of_one_key():
    found = proof({"PK": "{name}#{id}", "SK": "{email}"}, {"PK": "{name}{email}", "SK": "{at:%Y}"})
    assert [rule.shared for rule in found.rules] == [{"name", "id", "email"}, set()]
    (each,) = proof({"PK": "{id}", "SK": "#{index}"}, for_each="lines").rules
    assert each.shared == {"id"}


def keeping(*columns):
    return {"hook": "jobs:hook", "keeps": columns}


def test_behind_a_hook_only_what_it_keeps_proves():
    assert reason({"PK": "{id}"}, transform=keeping("id")) is None
    assert "doesn't show which row" in reason({"PK": "{id}"}, transform=keeping("email"))
    # What becomes of the other columns nobody knows: they may hold any sign.
    assert reason({"PK": "{at}#{id}"}, transform=keeping("id")) is None
    assert reason({"PK": "{at}#{email}"}, identities=BY_EMAIL, transform=keeping("email")) is not None
    assert reason({"PK": "{at}#{email}"}, identities=BY_EMAIL, transform=keeping("at", "email")) is None
    assert reason({"PK": "A{id}"}, {"PK": "{amount}"}, transform=keeping("id")) is not None
    assert proof({"PK": "{id}", "SK": "{name}"}, transform=keeping("id")).rules[0].shared == {"id"}


def test_the_users_word_stands_beside_what_is_proved():
    assert not proof({"PK": "{id}"}, word=True).said  # nothing to say
    assert proof({"PK": "{name}"}, word=True).said
    assert proof({"PK": "{name}"}, word=True).reason is not None
    assert proof({"PK": "{name}"}, transform="jobs:hook", word=True).said
    assert proof({"PK": "A#{id}"}, {"PK": "{name}"}, word=True).said


def test_a_word_about_columns_is_one_about_the_keys_that_hold_them():
    assert proof({"PK": "{name}"}, word=["name"]).said
    assert proof({"PK": "{name}", "SK": "{email}"}, word=[["name", "email"]]).said
    assert not proof({"PK": "{name}#{email}"}, word=[["name", "email"]]).said
    assert not proof({"PK": "{name}"}, {"PK": "{email}"}, word=["name"]).said
    assert not proof({"PK": "{name}"}, transform="jobs:hook", word=["name"]).said
    assert proof({"PK": "{name}"}, transform=keeping("name"), word=["name"]).said
    assert not proof({"PK": "{name}", "SK": "{each.sku}"}, for_each="lines", word=["name"]).said
    with pytest.raises(JobError, match=r"source.unique: there is no column nam; did you mean 'name'\?"):
        proof({"PK": "{name}"}, word=["nam"])


def test_a_word_in_a_rule_is_about_its_keys_alone():
    said = {"key": {"PK": "{name}"}, "unique": True}
    assert key_proof(job(said), schema(KINDS, BY_ID)).said
    assert key_proof(job(said, {"key": {"PK": "A#{id}"}}), schema(KINDS, BY_ID)).said
    assert not key_proof(job(said, {"key": {"PK": "{email}"}}), schema(KINDS, BY_ID)).said
    apart = key_proof(job({"key": {"PK": "{id}"}}, {"key": {"PK": "{id}"}}), schema(KINDS, BY_ID))
    assert apart.between is not None
    assert not apart.said
