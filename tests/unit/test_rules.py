"""Rules: which items a row becomes, what its attributes hold, and what the user learns before reading."""

import pytest

from engine.errors import JobError
from engine.kinds import Document, ListOf, Scalar, StructOf
from tests.support.rules import (
    attribute,
    column_of,
    deletes_of,
    flaws_of,
    kinds_of,
    rows_of,
    transformed,
    values_of,
)

S = Scalar
USERS = {
    "id": (S.INT, ["1", "2"]),
    "email": (S.STRING, ["a@x", None]),
    "active": (S.BOOL, ["true", "false"]),
    "note": (S.STRING, ["", "n"]),
}
LINES = StructOf((("sku", S.STRING), ("n", S.INT)))
ORDERS = {
    "id": (S.INT, ["1", "2", "3"]),
    "lines": (ListOf(LINES), [[{"sku": "a", "n": "1"}, {"sku": "b", "n": None}], None, []]),
    "doc": (Document(), ['{"l":[1,{"x":"y"}]}', '{"l":"no list"}', '{"l":null}']),
}


class TestKeys:
    def test_key_attributes_come_first_and_in_the_rules_order(self):
        (items,) = transformed(USERS, {"key": {"SK": "PROFILE", "PK": "USER#{id}"}, "include": "all"})
        assert list(kinds_of(items)) == ["SK", "PK", "id", "email", "active", "note"]

    def test_a_null_in_a_key_is_a_flaw_that_names_the_column(self):
        (items,) = transformed(USERS, {"key": {"PK": "{email}", "SK": "E#{email}#{id}"}})
        assert flaws_of(items) == [None, "key_null: PK needs email, which is null"]
        assert column_of(items, "SK") == ["E#a@x#1", None]

    def test_a_missing_or_null_member_of_a_document_is_a_null_in_a_key(self):
        columns = {"doc": (Document(), ['{"k":"v"}', '{"k":null}', "{}", None])}
        for key in ("{doc.k}", "D#{doc.k}"):
            (items,) = transformed(columns, {"key": {"PK": key}})
            assert flaws_of(items) == [None, *["key_null: PK needs doc.k, which is null"] * 3]
            assert column_of(items, "PK")[1:] == [None] * 3

    def test_an_empty_text_is_passed_on_for_the_encoder_to_judge(self):
        (items,) = transformed(USERS, {"key": {"PK": "{note}"}})
        assert column_of(items, "PK") == ["", "n"]
        assert flaws_of(items) == [None, None]

    def test_the_key_wins_over_an_included_column_of_its_name(self):
        columns = {"PK": (S.INT, ["1"]), "x": (S.INT, ["2"])}
        (items,) = transformed(columns, {"key": {"PK": "K#{PK}"}, "include": "all"})
        assert values_of(items) == [{"PK": "K#1", "x": "2"}]


class TestAttributes:
    def test_a_lone_placeholder_keeps_its_kind_and_text_around_it_makes_text(self):
        assert attribute(USERS, "{id}") == (S.INT, ["1", "2"], [None, None])
        assert attribute(USERS, "#{id}/{active}") == (S.STRING, ["#1/true", "#2/false"], [None, None])

    def test_a_null_part_leaves_the_whole_attribute_out(self):
        assert attribute(USERS, "mail {email}!") == (S.STRING, ["mail a@x!", None], [None, None])

    @pytest.mark.parametrize(
        ("value", "kind", "text"),
        [
            ("Order", S.STRING, "Order"),
            ("{{x}}", S.STRING, "{x}"),
            (7, S.NUMBER, "7"),
            (0.1, S.NUMBER, "0.1"),
            (True, S.BOOL, "true"),
        ],
    )
    def test_literals_are_the_same_in_every_item(self, value, kind, text):
        assert attribute(USERS, value) == (kind, [text, text], [None, None])

    def test_literals_stand_in_no_item_when_there_are_no_rows(self):
        columns = {name: (kind, []) for name, (kind, _) in USERS.items()}
        (items,) = transformed(columns, {"key": {"PK": "FIXED"}, "attributes": {"a": "Order"}})
        assert items.frame.height == 0

    def test_include_and_exclude_choose_columns_with_their_kinds(self):
        (items,) = transformed(USERS, {"key": {"PK": "{id}"}, "include": "all", "exclude": ["note", "id"]})
        assert kinds_of(items) == {"PK": S.INT, "email": S.STRING, "active": S.BOOL}
        (items,) = transformed(USERS, {"key": {"PK": "{id}"}, "include": ["note"]})
        assert values_of(items) == [{"PK": "1", "note": ""}, {"PK": "2", "note": "n"}]

    def test_an_explicit_attribute_goes_before_an_included_one(self):
        rule = {"key": {"PK": "{id}"}, "include": ["note"], "attributes": {"note": "N:{note}"}}
        (items,) = transformed(USERS, rule)
        assert column_of(items, "note") == ["N:", "N:n"]

    def test_sql_results_keep_their_own_kind_and_can_be_converted(self):
        assert attribute(USERS, {"sql": "upper(email)"}) == (S.STRING, ["A@X", None], [None, None])
        assert attribute(USERS, {"sql": "id * 2", "as": "S"}) == (S.STRING, ["2", "4"], [None, None])


class TestWhen:
    def test_only_rows_for_which_it_is_true_give_items(self):
        (items,) = transformed(USERS, {"when": "email <> 'zzz'", "key": {"PK": "{id}"}})
        assert rows_of(items) == [0]

    def test_an_expression_isnt_computed_for_rows_that_are_filtered_out(self):
        rule = {
            "when": "note = 'n'",
            "key": {"PK": "{id}"},
            "attributes": {"a": {"sql": "cast(note as int)"}},
        }
        (items,) = transformed({**USERS, "note": (S.STRING, ["bad", "n"])}, rule)
        assert rows_of(items) == [1]
        assert flaws_of(items)[0].startswith("value_unsupported: a:")

    def test_delete_when_marks_deletes_and_null_means_put(self):
        (items,) = transformed(
            USERS, {"key": {"PK": "{id}"}, "delete_when": "email = 'a@x'", "include": "all"}
        )
        assert deletes_of(items) == [True, False]
        assert column_of(items, "note") == ["", "n"]

    def test_a_row_that_when_cant_judge_is_a_flawed_item_not_a_lost_one(self):
        columns = {"id": (S.INT, ["1", "2"]), "at": (S.TIMESTAMP, ["infinity", "2024-01-01T00:00:00"])}
        (items,) = transformed(columns, {"when": "at < TIMESTAMP '2000-01-01'", "key": {"PK": "{id}"}})
        assert rows_of(items) == [0]
        flaw = "value_unsupported: when needs at, which holds a value that SQL can't compute with"
        assert flaws_of(items) == [flaw]


class TestForEach:
    def test_every_element_gives_an_item_and_no_element_gives_none(self):
        rule = {
            "for_each": "lines",
            "key": {"PK": "{id}", "SK": "{index:03d}"},
            "attributes": {"sku": "{each.sku}", "n": "{each.n}", "at": "{index}", "whole": "{each}"},
        }
        (items,) = transformed(ORDERS, rule)
        assert rows_of(items) == [0, 0]
        assert values_of(items) == [
            {"PK": "1", "SK": "000", "sku": "a", "n": "1", "at": "0", "whole": {"sku": "a", "n": "1"}},
            {"PK": "1", "SK": "001", "sku": "b", "at": "1", "whole": {"sku": "b", "n": None}},
        ]
        assert kinds_of(items)["at"] is S.INT
        assert kinds_of(items)["n"] is S.INT

    def test_a_list_inside_a_document(self):
        rule = {"for_each": "doc.l", "key": {"PK": "{id}", "SK": "#{index}"}, "attributes": {"v": "{each}"}}
        (items,) = transformed(ORDERS, rule)
        assert rows_of(items) == [0, 0, 1]
        assert column_of(items, "v") == ['{"N":"1"}', '{"M":{"x":{"S":"y"}}}', None]
        assert flaws_of(items) == [None, None, "value_unsupported: for_each needs a list, and doc.l is none"]

    def test_a_null_element_can_be_an_attribute_but_no_key(self):
        columns = {"id": (S.INT, ["1"]), "tags": (ListOf(S.STRING), [["a", None]])}
        (items,) = transformed(columns, {"for_each": "tags", "key": {"PK": "{id}", "SK": "{each}"}})
        assert flaws_of(items) == [None, "key_null: SK needs each, which is null"]

    def test_filters_deletes_and_sql_see_the_row(self):
        columns = {**ORDERS, "gone": (S.BOOL, ["true", "false", "true"])}
        rule = {
            "for_each": "lines",
            "when": "id < 3",
            "key": {"PK": "{id}", "SK": "{each.sku}"},
            "attributes": {"twice": {"sql": "id * 2"}},
            "delete_when": "gone",
        }
        (items,) = transformed(columns, rule)
        assert deletes_of(items) == [True, True]
        assert column_of(items, "twice") == ["2", "2"]

    def test_each_and_index_are_columns_where_there_is_no_for_each(self):
        columns = {"index": (S.STRING, ["i"])}
        (items,) = transformed(columns, {"key": {"PK": "{index}"}})
        assert column_of(items, "PK") == ["i"]

    def test_in_quotes_they_are_columns_anywhere(self):
        columns = {"each": (S.STRING, ["e"]), "index": (S.STRING, ["i"]), "tags": (ListOf(S.STRING), [["t"]])}
        key = {"PK": '{"each"}#{"index"}'}
        (items,) = transformed(columns, {"key": key})
        assert column_of(items, "PK") == ["e#i"]
        attributes = {"element": "{each}", "position": "{index}"}
        (items,) = transformed(columns, {"for_each": "tags", "key": key, "attributes": attributes})
        assert values_of(items) == [{"PK": "e#i", "element": "t", "position": "0"}]
        (items,) = transformed(
            {"each": (ListOf(S.STRING), [["t"]])}, {"for_each": "each", "key": {"PK": "{each}"}}
        )
        assert column_of(items, "PK") == ["t"]


class TestRefusedBeforeReading:
    @pytest.mark.parametrize(
        ("rule", "sentence"),
        [
            (
                {"key": {"PK": "U#{emial}"}},
                "items[0].key.PK: there is no column 'emial'; did you mean 'email'?",
            ),
            (
                {"key": {"PK": "{id}"}, "attributes": {"a": "{id.x}"}},
                "items[0].attributes.a: id is of type int, so there is no 'x' in it",
            ),
            (
                {"key": {"PK": "{id}"}, "include": ["nott"]},
                "items[0].include: there is no column 'nott'; did you mean 'note'?",
            ),
            (
                {"key": {"PK": "{id}"}, "include": "all", "exclude": ["Note"]},
                "items[0].exclude: there is no column 'Note'; did you mean 'note'?",
            ),
            (
                {"key": {"PK": "{id}"}, "when": "emil = 'x'"},
                "items[0].when: \"emil = 'x'\" names no known column: 'emil'; did you mean 'email'?",
            ),
            (
                {"key": {"PK": "{id}"}, "for_each": "id"},
                "items[0].for_each: for_each needs a list, and id is of type int",
            ),
            (
                {"key": {"PK": "{id}"}, "attributes": {"a": {"value": "{active}", "as": "N"}}},
                "items[0].attributes.a: a's value is of type bool, which can't become N; change or drop `as`",
            ),
        ],
    )
    def test_names_the_rule_and_what_is_at_fault(self, rule, sentence):
        with pytest.raises(JobError) as caught:
            transformed(USERS, rule)
        assert str(caught.value) == sentence

    def test_a_list_among_text(self):
        with pytest.raises(JobError, match="lines is a list, which has no text"):
            transformed(ORDERS, {"key": {"PK": "X#{lines}"}})

    def test_a_field_that_a_composite_doesnt_have(self):
        with pytest.raises(JobError, match="each has no field 'skuu'; did you mean 'sku'"):
            transformed(ORDERS, {"for_each": "lines", "key": {"PK": "{each.skuu}"}})
