"""The job file: from a path to jobs, and every mistake told with file and key, and without secrets."""

from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import JobError
from engine.job.file import load
from engine.job.items import Constant

ROOT = Path(__file__).parents[2]
ENV = {"SOURCE_URL": "postgresql://user:hunter22@host/db", "STAGE": "production-7"}
ORDERS = """
name: orders
source:
  type: postgres
  url: ${SOURCE_URL}
  table: orders
  embed:
    items: {table: order_items, on: {order_id: id}, order_by: [line_no]}
target: {type: dynamodb, table: "app-${STAGE}"}
items:
  - name: Order
    key: {PK: "USER#{user_id}", SK: "ORDER#{id}"}
    attributes: {Zip: 01234, Price: 1.50, Answer: no, Day: 2024-01-01, Flag: true}
"""
SEVERAL = """
target: {type: dynamodb, table: app-data}
options: {nulls: keep}
jobs:
  - name: users
    source: {type: postgres, url: "${SOURCE_URL}", table: users}
    items: [{name: User, key: {PK: "{id}"}}]
  - name: orders
    source: {type: postgres, url: "${SOURCE_URL}", table: orders}
    target: {type: dynamodb, table: other, max_wcu: 5}
    items: [{name: Order, key: {PK: "{id}"}}]
"""


EVERYTHING = """
name: orders
source:
  type: postgres
  url: ${SOURCE_URL}
  table: public.orders
  key: [id]
  columns: [id, user_id, order_date, status, updated_at]
  where: "status <> 'draft'"
  embed:
    items: {table: order_items, on: {order_id: id}, order_by: [line_no], columns: [product_id, quantity]}
  watermark: updated_at
  segments: auto
  batch_rows: 10000
target:
  type: dynamodb
  table: app-data
  region: us-east-1
  endpoint_url: http://127.0.0.1:8000
  mode: put
  version: updatedAt
  max_wcu: 4000
  create:
    billing: on_demand
    gsi: [{name: GSI1, partition_key: GSI1PK, sort_key: GSI1SK, projection: keys_only}]
    pitr: true
    tags: {team: shop}
    warm_throughput: {write: 40000}
transform: mypackage.jobs:enrich
items:
  - name: Order
    when: "status <> 'draft'"
    key: {PK: "USER#{user_id}", SK: "ORDER#{order_date:%Y-%m-%d}#{id}"}
    include: all
    exclude: [internal_note]
    attributes:
      EntityType: Order
      TotalAmount: "{total_amount}"
      GSI1PK: "EMAIL#{email}"
      Email: {sql: "lower(email)"}
      ExpiresAt: {value: "{expires_at}", as: epoch_s}
    delete_when: "deleted_at IS NOT NULL"
  - name: Address
    for_each: addresses
    key: {PK: "USER#{username}", SK: "ADDRESS#{each.type}"}
    attributes: {street: "{each.street}", position: "{index}"}
options: {nulls: omit, on_invalid: dead_letter, numbers: exact}
state: {type: sqlite}
"""


@pytest.fixture
def job_file(tmp_path):
    """Write a job file and give its path."""

    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path, *overrides, env=ENV, only=None):
    """Return the message of a refusal, in which (and in whose causes) no secret stands."""
    with pytest.raises(JobError) as caught:
        load(path, overrides, env, only)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter22" not in str(error)
        error = error.__cause__ or error.__context__
    return str(caught.value)


def test_a_file_becomes_a_job_as_it_was_written(job_file):
    [job] = load(job_file(ORDERS), (), ENV)
    assert job.source.url.get_secret_value() == ENV["SOURCE_URL"]
    assert job.source.embed["items"].on == {"order_id": "id"}
    assert job.target.table == "app-production-7"
    assert dict(job.items[0].attribute_rules()) == {
        "Zip": Constant("01234", "S"),
        "Price": Constant("1.50", "N"),
        "Answer": Constant("no", "S"),
        "Day": Constant("2024-01-01", "S"),
        "Flag": Constant("true", "BOOL"),
    }


def test_every_key_that_is_promised_is_taken(job_file):
    [job] = load(job_file(EVERYTHING), (), ENV)
    assert [rule.name for rule in job.items] == ["Order", "Address"]
    assert job.source.embed["items"].on == {"order_id": "id"}
    assert job.target.create.warm_throughput == {"write": 40000}


def test_the_job_knows_the_directory_of_its_file(job_file, tmp_path, monkeypatch):
    job_file(ORDERS)
    monkeypatch.chdir(tmp_path)
    [job] = load("job.yaml", (), ENV)
    assert job.directory == tmp_path


def test_the_environment_of_the_process_is_the_default(job_file, monkeypatch):
    monkeypatch.setenv("SOURCE_URL", "postgres://h")
    monkeypatch.setenv("STAGE", "x")
    assert load(job_file(ORDERS))[0].target.table == "app-x"


def test_set_changes_keys_and_may_use_variables(job_file):
    overrides = [
        "target.max_wcu=10.5",
        "source.segments=4",
        "target.table=${STAGE}",
        "items.Order.when=a = 'b'",
    ]
    [job] = load(job_file(ORDERS), overrides, ENV)
    assert (job.target.max_wcu, job.source.segments, job.target.table) == (10.5, 4, "production-7")
    assert job.items[0].when == "a = 'b'"


def test_several_jobs_share_what_stands_at_the_top_unless_they_have_their_own(job_file):
    users, orders = load(job_file(SEVERAL), (), ENV)
    assert (users.name, users.target.table, users.options.nulls) == ("users", "app-data", "keep")
    assert (orders.name, orders.target.table, orders.options.nulls) == ("orders", "other", "keep")
    assert orders.target.max_wcu == 5


def test_only_keeps_one(job_file):
    assert [job.name for job in load(job_file(SEVERAL), (), ENV, only="orders")] == ["orders"]
    assert "no job 'order' in it; did you mean 'orders'?" in refused(job_file(SEVERAL), only="order")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("[]", "it must be a mapping"),
        ("hello", "it must be a mapping"),
        ("name: a\nname: b\n", "line 2, column 1: the key 'name' stands here twice"),
        ("a: b: c", "line 1, column 5: not valid YAML"),
        (ORDERS.replace("embed:", "embde:"), "source.embde: this key isn't known; did you mean 'embed'?"),
        (ORDERS.replace("on: {", "of: {"), "source.embed.items.of: this key isn't known"),
        (ORDERS.replace("{id}", "{id"), "items[0].key.SK: at character 7: a '{' that is never closed"),
        (ORDERS.replace("${STAGE}", "${STAEG}"), "target.table: the environment variable STAEG isn't set"),
        (
            ORDERS.replace("orders\n", "orders #\n").replace("url: $", "url: x$"),
            "source.url: it must be a URL",
        ),
        (ORDERS.replace("type: postgres", "type: mysql"), "source.type: it must name a kind of source"),
        ("jobs: []", "jobs: it must be a list of at least one job"),
        ("jobs: {a: b}", "jobs: it must be a list of at least one job"),
        ("jobs: [5]", "jobs[0]: it must be a mapping"),
        ("jobs: [{}]\nsource: {}", "source: with jobs it belongs into each of their entries"),
        ("jobs: [{}]\ntargte: {}", "targte: this key isn't known; did you mean 'target'?"),
        (SEVERAL.replace("table: app-data", "tabel: x"), "job.yaml: target.tabel: this key isn't known"),
        (SEVERAL.replace("max_wcu: 5", "max_wcu: no"), "jobs[1].target.max_wcu: it must be a number"),
        (SEVERAL.replace("name: users", "name: orders"), "jobs[1].name: another job has this name"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_the_key(job_file, text, what):
    path = job_file(text)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert what in message
    assert "\n" not in message


def test_files_that_cannot_be_read_are_told(tmp_path):
    assert "there is no such file" in refused(tmp_path / "none.yaml")
    assert "can't be read: Is a directory" in refused(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Bücher".encode("latin-1"))
    assert "UTF-8" in refused(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + ORDERS.encode())
    assert load(tmp_path / "bom.yaml", (), ENV)[0].name == "orders"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("target.max_wcu=abc", "--set target.max_wcu: it must be a number"),
        ("taregt.table=x", "--set taregt: this key isn't known; did you mean 'target'?"),
        ("target.create.pitr=maybe", "--set target.create.pitr: it must be true or false"),
        ("target", "--set: it must be path=value, such as --set target.max_wcu=1000"),
        ("source.url=[hunter22]", "--set source.url: it must be text"),
    ],
)
def test_a_mistake_in_set_is_told_as_such(job_file, override, message):
    assert refused(job_file(ORDERS), override) == message


def test_a_mistake_in_the_file_is_not_put_down_to_set(job_file):
    path = job_file(ORDERS.replace("table: orders", "tabel: orders"))
    assert refused(path, "source.segments=4").startswith(f"{path}: source.tabel: ")


def test_values_of_variables_stand_in_no_message(job_file):
    text = ORDERS.replace("order_by: [line_no]", 'order_by: ["${PW}", "${PW}"]')
    message = refused(job_file(text), env={**ENV, "PW": "hunter22"})
    assert message.endswith("source.embed.items.order_by[1]: '${PW}' stands here twice")


def test_a_variable_that_is_no_text_is_told(job_file):
    env = {**ENV, "STAGE": b"\xff".decode(errors="surrogateescape")}
    assert refused(job_file(ORDERS), env=env).endswith(
        "target.table: it holds bytes that aren't text in UTF-8"
    )


def test_the_first_faults_are_told_and_the_rest_counted(job_file):
    keys = ", ".join(f"K{number}: '{{'" for number in range(9))
    lines = refused(job_file(ORDERS.replace("Flag: true", keys))).split("\n")
    assert len(lines) == 6
    assert lines[5].endswith("4 more after these")


def test_numbers_reach_the_models_exactly(job_file):
    text = ORDERS.replace("1.50", "0.1000000000000000055511151231257827")
    assert load(job_file(text), (), ENV)[0].items[0].attributes["Price"] == Decimal(
        "0.1000000000000000055511151231257827"
    )


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_good_job_files(example):
    assert load(example, (), {**ENV, "MONGODB_URL": "mongodb://user:hunter22@host/"})


def by_log(second: str = "{type: log, slot: s}", place: str = "h/d") -> str:
    rules = '[{name: R, key: {PK: "{id}"}}]'
    logs = {"a": ("ann:x@h/d", "{type: log, slot: s}"), "b": (f"bob:y@{place}", second)}
    logs["c"] = ("h/d", "{type: log, slot: other}")
    jobs = "".join(
        f"  - name: {name}\n    items: {rules}\n"
        f'    source: {{type: postgres, url: "postgresql://{url}", table: {name}, catch_up: {log}}}\n'
        for name, (url, log) in logs.items()
    )
    return f"target: {{type: dynamodb, table: app-data}}\njobs:\n{jobs}"


def test_jobs_that_go_by_one_slot_know_each_other_also_where_one_is_chosen(job_file):
    path = job_file(by_log())
    assert [[mate.name for mate in job.log_mates] for job in load(path, env={})] == [["b"], ["a"], []]
    (chosen,) = load(path, env={}, only="b")
    assert [mate.name for mate in chosen.log_mates] == ["a"]


@pytest.mark.parametrize(
    "made",
    [by_log(place="h/e"), by_log(place="other/d"), by_log("{type: log, slot: s, publication: p}")],
)
def test_a_slot_of_one_name_must_be_one_slot(job_file, made):
    with pytest.raises(
        JobError, match=r"jobs\[1\]\.source\.catch_up\.slot: another job's slot has this name"
    ):
        load(job_file(made), env={})
