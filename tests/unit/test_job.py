"""The job's models: what fits together, and what a checkpoint depends on."""

import copy
import pickle
import sys
from decimal import Decimal

import pytest
from pydantic import ValidationError

from connectors.dynamodb.section import Create
from connectors.postgres.section import PostgresSection
from engine.job.faults import faults
from engine.job.handed import read, write
from engine.job.items import Constant, Filled, ItemRule, Sql
from engine.job.model import Job
from engine.job.template import Placeholder

RULE = {"name": "Order", "key": {"PK": "USER#{user_id}", "SK": "ORDER#{id}"}}
INDEX = {"name": "GSI1", "partition_key": "a"}
JOB = {
    "name": "orders",
    "source": {"type": "postgres", "url": "postgresql://user:hunter22@host/db", "table": "orders"},
    "target": {"type": "dynamodb", "table": "app-data"},
    "items": [RULE],
}


def job(**changes):
    """Build a job with some keys changed: `target__mode="put"`, `items__0__when=…`."""
    data = copy.deepcopy(JOB)
    for path, value in changes.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        at = data
        for step in steps:
            at = at[step] if isinstance(step, int) else at.setdefault(step, {})
        at[last] = value
    return data


def told(data):
    """Return the faults of a job as (dotted-ish path, sentence)."""
    with pytest.raises(ValidationError) as caught:
        Job.model_validate(data)
    found = faults(caught.value, data)
    assert "hunter22" not in str(found)
    return [("/".join(map(str, fault.path)), fault.sentence) for fault in found]


def test_the_rule_is_resolved_for_those_who_know_no_yaml():
    rule = ItemRule.model_validate(
        {
            **RULE,
            "attributes": {
                "Type": "Order",
                "Brace": "a{{b}}",
                "Empty": "",
                "Total": "{total}",
                "Mail": "EMAIL#{email}",
                "Int": 5,
                "Exact": Decimal("1.50"),
                "Float": 0.1,
                "Big": Decimal("1e3"),
                "Flag": False,
                "Lower": {"sql": "lower(email)", "as": "S"},
                "Expires": {"value": "{expires_at}", "as": "epoch_s"},
                "Bytes": {"value": "abc", "as": "B"},
            },
        }
    )
    assert rule.key_templates() == (
        ("PK", ("USER#", Placeholder(("user_id",), None))),
        ("SK", ("ORDER#", Placeholder(("id",), None))),
    )
    assert dict(rule.attribute_rules()) == {
        "Type": Constant("Order", "S"),
        "Brace": Constant("a{b}", "S"),
        "Empty": Constant("", "S"),
        "Total": Filled((Placeholder(("total",), None),), None),
        "Mail": Filled(("EMAIL#", Placeholder(("email",), None)), None),
        "Int": Constant("5", "N"),
        "Exact": Constant("1.50", "N"),
        "Float": Constant("0.1", "N"),
        "Big": Constant("1000", "N"),
        "Flag": Constant("false", "BOOL"),
        "Lower": Sql(sql="lower(email)", as_="S"),
        "Expires": Filled((Placeholder(("expires_at",), None),), "epoch_s"),
        "Bytes": Filled(("abc",), "B"),
    }
    assert rule.for_each_path() is None


def test_for_each_is_a_path():
    def path(text):
        return ItemRule.model_validate({**RULE, "for_each": text}).for_each_path()

    assert path("addresses") == ("addresses",)
    assert path("profile.addresses") == ("profile", "addresses")
    assert path('"a.b".c') == ("a.b", "c")


def test_the_attributes_of_a_rule_are_known_unless_the_source_decides():
    def known(**keys):
        return ItemRule.model_validate({**RULE, "attributes": {"A": "x"}, **keys}).attributes_known

    assert known() == {"A"}
    assert known(include=["b", "c"], exclude=["c"]) == {"A", "b"}
    assert known(include="all") is None


@pytest.mark.parametrize(
    "data",
    [
        job(source={"type": "postgres", "url": "postgres://h", "query": "SELECT 1 AS id", "key": ["id"]}),
        job(source__segments="8", source__batch_rows="500"),
        job(source__embed={"items": {"table": "order_items", "on": {"order_id": "id"}}}),
        job(target__mode="newer", target__version="v", items__0__include="all"),
        job(target__mode="put", target__version="v"),
        job(target__mode="newer", target__version="v", items__0__attributes={"v": "{updated_at}"}),
        job(target__mode="newer", target__version="v", items__0__include=["v"]),
        job(target__table="arn:aws:dynamodb:us-east-1:123456789012:table/app-data"),
        job(target__create={"billing": "provisioned", "read_capacity": 5, "write_capacity": 5}),
        job(target__create={"gsi": [INDEX], "key_types": {"a": "N", "SK": "S"}}),
        job(target__create={"encryption": "alias/my-key", "warm_throughput": {"write": 40000}}),
        job(items__0__attributes={"n": Decimal("9" * 38), "z": 0}),
        job(items__0__attributes={"m": Decimal("1E-130"), "e": Decimal("9.9E+125")}),
        job(items__0__attributes={"n": Decimal("1" + "0" * 100)}),
        job(items__0__for_each="addresses", items__0__attributes={"a": "{each.x}", "i": "{index:03d}"}),
        job(items__0__attributes={"index": "{index}"}),
        job(state={"type": "dynamodb", "table": "backfill-state"}),
    ],
)  # fmt: skip
def test_what_fits_is_taken(data):
    Job.model_validate(data)


@pytest.mark.parametrize(
    ("data", "path", "sentence"),
    [
        (job(nme="x"), "nme", "did you mean 'name'?"),
        (job(name="Orders"), "name", "lower-case"),
        (job(name="../x"), "name", "lower-case"),
        (job(name=""), "name", "lower-case"),
        (job(name="a" * 101), "name", "at most 100 characters"),
        (job(name=5), "name", "it must be text; put it in quotes"),
        (job(name=None), "name", "it has no value"),
        (job(items=[]), "items", "must not be empty"),
        (job(transform="enrich"), "transform", "module:function"),
        (job(source__type="mysql", source__database="d"), "source/type", "supported: postgres, mongodb"),
        (job(source__tabel="x"), "source/tabel", "did you mean 'table'?"),
        (job(source__zzz="x"), "source/zzz", "known here: type, url, table"),
        (job(source__url="host=x password=hunter22"), "source/url", "postgresql://"),
        (job(source__url=["hunter22"]), "source/url", "it must be text"),
        (job(source__table=None), "source", "it needs `table`"),
        (job(source__query="SELECT 1"), "source/query", "it excludes `table`"),
        (
            job(source={"type": "postgres", "url": "postgres://h", "query": "SELECT 1"}),
            "source/query",
            "it needs `key`",
        ),
        (job(source__key=[]), "source/key", "must not be empty"),
        (job(source__columns=["a", "b", "a"]), "source/columns/2", "'a' stands here twice"),
        (job(source__columns="a"), "source/columns", "it must be a list"),
        (job(source__segments="many"), "source/segments", "it must be 'auto' or a whole number"),
        (job(source__segments=0), "source/segments", "it must be 'auto' or at least 1"),
        (job(source__batch_rows=1.5), "source/batch_rows", "it must be a whole number"),
        (job(source__batch_rows=2_000_000), "source/batch_rows", "it must be at most 1,000,000"),
        (job(source__embed={"i": {"table": "t"}}), "source/embed/i/on", "it is missing"),
        (job(source__embed={"i": {"table": "t", "on": {}}}), "source/embed/i/on", "must not be empty"),
        (
            job(source__columns=["id", "i"], source__embed={"i": {"table": "t", "on": {"a": "b"}}}),
            "source/embed/i",
            "read already",
        ),
        (job(target__mode="newer"), "target/mode", "needs `version`"),
        (job(target__version="v"), "target/version", "only `mode: newer` compares it"),
        (job(target__mode="upsert"), "target/mode", "'put', 'insert' or 'newer'"),
        (job(target__mode="newer", target__version="v"), "items/0", "no attribute 'v'"),
        (
            job(target__mode="newer", target__version="v", items__0__include="all", items__0__exclude=["v"]),
            "items/0",
            "no attribute 'v'",
        ),
        (
            job(target__mode="newer", target__version="SK", items__0__include="all"),
            "target/version",
            "can't tell the newer",
        ),
        (job(target__max_wcu=0), "target/max_wcu", "more than 0"),
        (job(target__max_wcu=float("inf")), "target/max_wcu", "finite"),
        (job(target__table="a b"), "target/table", "a table's name"),
        (job(target__endpoint_url="127.0.0.1:8000"), "target/endpoint_url", "http://127.0.0.1:8000"),
        (job(target__endpoint_url="http://u:hunter22@h"), "target/endpoint_url", "no user or password"),
        (job(target__endpoint_url="http://[hunter22"), "target/endpoint_url", "it isn't a URL"),
        (job(target__create__sort_key="PK"), "target/create/sort_key", "partition key already"),
        (job(target__create__key_types={"x": "N"}), "target/create/key_types/x", "types fit: PK, SK"),
        (job(target__create__key_types={"SK": "BOOL"}), "target/create/key_types/SK", "'S', 'N' or 'B'"),
        (job(target__create__billing="provisioned"), "target/create/read_capacity", "needs it"),
        (job(target__create__write_capacity=5), "target/create/write_capacity", "billing: provisioned"),
        (job(target__create__gsi=[{"name": "GSI1"}]), "target/create/gsi/0/partition_key", "it is missing"),
        (
            job(target__create__gsi=[INDEX, INDEX]),
            "target/create/gsi/1/name",
            "another index",
        ),
        (
            job(target__create__gsi=[{**INDEX, "sort_key": "a"}]),
            "target/create/gsi/0/sort_key",
            "partition key already",
        ),
        (job(target__create__encryption="KMS"), "target/create/encryption", "KMS key"),
        (job(target__create__tags={"": "x"}), "target/create/tags/", "must not be empty"),
        (job(target__create__tags={"a": 5}), "target/create/tags/a", "put it in quotes"),
        (job(target__create__tags={f"t{n}": "" for n in range(51)}), "target/create/tags", "at most 50"),
        (job(target__create__warm_throughput={"x": 1}), "target/create/warm_throughput/x", "'read'"),
        (job(target__create={"partition_key": "id"}), "items/0/key", "target.create has: SK and id"),
        (job(items=[RULE, RULE]), "items/1/name", "another rule has this name"),
        (job(items=[RULE, {"name": "B", "key": {"PK": "x"}}]), "items/1/key", "other rules have: PK and SK"),
        (job(items__0__key={"A": "a", "B": "b", "C": "c"}), "items/0/key", "at most 2"),
        (job(items__0__key={}), "items/0/key", "must not be empty"),
        (job(items__0__key={"PK": "", "SK": "x"}), "items/0/key/PK", "empty string"),
        (job(items__0__key={"PK": "{a", "SK": "x"}), "items/0/key/PK", "at character 1: a '{'"),
        (job(items__0__attributes={"PK": "x"}), "items/0/attributes/PK", "a key attribute already"),
        (job(items__0__attributes={"A": "{a:x}"}), "items/0/attributes/A", "the format 'x'"),
        (job(items__0__attributes={"A": "{each.x}"}), "items/0/attributes/A", 'named each is {"each".x}'),
        (job(items__0__attributes={"A": {"value": "{each}"}}), "items/0/attributes/A", "needs `for_each`"),
        (job(items__0__attributes={"A": None}), "items/0/attributes/A", "it has no value"),
        (job(items__0__attributes={"A": ["x"]}), "items/0/attributes/A", "it must be text"),
        (job(items__0__attributes={"A": {}}), "items/0/attributes/A/value", "it is missing"),
        (job(items__0__attributes={"A": {"vale": "x"}}), "items/0/attributes/A/vale", "'value'"),
        (job(items__0__attributes={"A": {"sql": "x", "as": "X"}}), "items/0/attributes/A/as", "'epoch_s'"),
        (job(items__0__attributes={"A": {"sql": "x", "value": "y"}}), "items/0/attributes/A/value", "known"),
        (job(items__0__attributes={"A": Decimal("9" * 39)}), "items/0/attributes/A", "38 digits"),
        (job(items__0__attributes={"A": Decimal("1E+126")}), "items/0/attributes/A", "38 digits"),
        (job(items__0__attributes={"A": float("nan")}), "items/0/attributes/A", "finite"),
        (job(items__0__attributes={"text": "{a"}), "items/0/attributes/text", "at character 1"),
        (job(items__0__include="id"), "items/0/include", "'all' or 'none' or a list"),
        (job(items__0__include=["a", 5]), "items/0/include/1", "put it in quotes"),
        (job(items__0__exclude=["a"]), "items/0/exclude", "needs `include`"),
        (job(items__0__for_each="{addresses}"), "items/0/for_each", "without braces"),
        (job(items__0__for_each="a:03d"), "items/0/for_each", "without braces"),
        (job(options={"nulls": "drop"}), "options/nulls", "'omit' or 'keep'"),
        (job(state={}), "state/type", "it is missing"),
        (
            job(source__watermark={"column": "at", "overlap": "5 min"}),
            "source/watermark/overlap",
            "30s, 10m, 2h or 1d",
        ),
        (job(source__watermark={"overlap": "5m"}), "source/watermark/column", "it is missing"),
        (
            job(source__embed={"i": {"table": "t", "on": {"a": "b"}, "watermark": "at"}}),
            "source/embed/i/watermark",
            "it needs `source.watermark` too",
        ),
        (job(state={"type": "redis"}), "state/type", "'sqlite' or 'dynamodb'"),
        (job(state={"type": "dynamodb"}), "state/table", "it is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_key(data, path, sentence):
    [(found_path, found)] = told(data)
    assert found_path == path
    assert sentence in found


def test_every_fault_is_told_and_no_section_for_its_keys():
    data = job(items__0__key={"PK": "{", "SK": "}"}, target__max_wcu="x")
    assert {path for path, _ in told(data)} == {"items/0/key/PK", "items/0/key/SK", "target/max_wcu"}


def test_a_job_travels_to_other_processes_with_its_directory(tmp_path):
    made = Job.model_validate(JOB, context={"directory": tmp_path})
    copied = pickle.loads(pickle.dumps(made))
    assert copied == made
    assert copied.directory == tmp_path
    assert copied.source.url.get_secret_value() == JOB["source"]["url"]


def test_the_password_is_in_no_text_of_a_job():
    made = Job.model_validate(JOB)
    assert "hunter22" not in repr(made) + str(made) + made.model_dump_json()


def parts(**changes):
    return Job.model_validate(job(**changes)).fingerprint_parts()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"source__table": "other"}, "source"),
        ({"source__where": "x"}, "source"),
        ({"items__0__key": {"PK": "A#{user_id}", "SK": "{id}"}}, "mapping"),
        ({"items__0__when": "x"}, "mapping"),
        ({"options__nulls": "keep"}, "mapping"),
        ({"transform": "json:loads"}, "mapping"),
        ({"target__table": "other"}, "target"),
        ({"target__region": "eu-west-1"}, "target"),
        ({"target__endpoint_url": "http://127.0.0.1:1"}, "target"),
        ({"target__mode": "insert"}, "target"),
    ],
)
def test_the_fingerprint_says_which_part_changed(changes, part):
    before, after = parts(), parts(**changes)
    assert [name for name in before if before[name] != after[name]] == [part]


@pytest.mark.parametrize(
    "changes",
    [
        {"source__url": "postgresql://other:word@elsewhere/db"},
        {"source__segments": 7, "source__batch_rows": 5},
        {"source__segments": "auto", "items__0__include": "none"},
        {"target__max_wcu": 5, "target__create": {"pitr": True}, "target__give_up_after_s": 5},
        {"options__on_invalid": "fail"},
        {"name": "renamed"},
        {"source__watermark": "at"},
        {"source__watermark": {"column": "at", "overlap": "10m"}},
        {"source__unique": True},
        {"source__unique": ["email", ["region", "code"]], "items__0__unique": True},
    ],
)
def test_what_may_change_during_a_run_changes_no_fingerprint(changes):
    assert parts(**changes) == parts()


def test_a_checkpoint_of_an_earlier_version_fits_the_job_that_hasnt_changed():
    """The digests are those that version 0.1's first code made of these jobs."""
    embed = {"items": {"table": "order_items", "on": {"order_id": "id"}}}
    source = {"source__where": "id > 0", "source__embed": embed}
    assert parts(**source)["source"] == "0edb85d5f5f2c3d6"
    gained = {"items": {**embed["items"], "watermark": "changed_at"}}
    assert parts(**{**source, "source__embed": gained}, source__watermark="at") == parts(**source)
    for watermark in ("updated_at", {"column": "updated_at", "overlap": "1h"}):
        made = Job.model_validate(job(**source, source__watermark=watermark))
        assert made.former_parts() == {"source": "bd021b1993c77a4b"}
    other = Job.model_validate(job(**source, source__watermark="created_at"))
    assert other.former_parts() != {"source": "bd021b1993c77a4b"}


@pytest.mark.parametrize(
    ("overlap", "seconds"), [("0s", 0), ("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400)]
)
def test_an_overlap_is_a_duration(overlap, seconds):
    made = Job.model_validate(job(source__watermark={"column": "at", "overlap": overlap}))
    assert made.source.watermark.overlap_s == seconds
    assert Job.model_validate(job(source__watermark="at")).source.watermark.overlap_s == 60


def test_a_literal_number_and_the_text_that_prints_alike_differ():
    def mapping(value):
        return parts(items__0__attributes={"A": value})["mapping"]

    assert (
        len({mapping(value) for value in ("1.50", Decimal("1.50"), Decimal("1.5"), True, "true", 1, "1")})
        == 7
    )


def test_the_fingerprint_follows_the_hook_s_source(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = tmp_path / "hookmod_print.py"
    module.write_text("def enrich(frame): return frame\n")
    made = Job.model_validate(job(transform="hookmod_print:enrich"), context={"directory": tmp_path})
    before = made.fingerprint_parts()
    module.write_text("def enrich(frame): return frame.head(5)\n")
    assert made.fingerprint_parts()["mapping"] != before["mapping"]


def test_what_a_hook_keeps_is_no_part_of_the_fingerprint():
    keeping = {"hook": "json:loads", "keeps": ["id", "email"]}
    assert parts(transform=keeping) == parts(transform="json:loads")
    assert Job.model_validate(job(transform=keeping)).hook == "json:loads"
    assert Job.model_validate(job(transform=keeping)).hook_keeps == {"id", "email"}
    assert Job.model_validate(job(transform="json:loads")).hook == "json:loads"
    assert Job.model_validate(job(transform="json:loads")).hook_keeps == frozenset()
    assert Job.model_validate(job()).hook is None


def test_what_is_unique_is_said_of_all_keys_or_of_columns():
    def said(value):
        return Job.model_validate(job(source__unique=value)).source.unique

    assert [said(value) for value in (True, False)] == [True, False]
    assert said(["email", ["region", "code"]]) == (("email",), ("region", "code"))
    made = Job.model_validate(job(source__unique=["email", ["region", "code"]]))
    assert read(write(made)).source.unique == made.source.unique


@pytest.mark.parametrize("value", ["email", [], [[]], ["a", ["b", "b"]], 1, {"a": "b"}, [5]])
def test_other_words_on_what_is_unique_are_faults(value):
    assert told(job(source__unique=value))[0][0].startswith("source/unique")


def test_sections_can_be_built_in_python():
    assert Create().table_key == ("PK", "SK")
    assert Create(sort_key=None).table_key == ("PK",)
    assert PostgresSection.model_validate(JOB["source"]).segments == "auto"
