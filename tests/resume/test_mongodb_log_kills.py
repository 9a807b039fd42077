"""An application that changes everything in MongoDB, with catch-up runs from the log that are killed.

An independent reading of the collection says what the table has to hold: all of it, and nothing else.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads, mongo_log_keys
from tests.support.command import kill_group
from tests.support.streamed import IMAGES, Streamed, streaming

DOCUMENTS = 300
RULES = [
    {
        "name": "Order",
        "when": "status <> 'draft'",
        "delete_when": "status = 'void'",
        "key": {"PK": "USER#{user.id}", "SK": "ORDER#{_id}"},
        "attributes": {"status": "{status}"},
    },
    {"name": "Mail", "key": {"PK": "MAIL#{mail}", "SK": "MAIL"}, "attributes": {"of": "{_id}"}},
    {"name": "Tag", "for_each": "tags", "key": {"PK": "ORDER#{_id}", "SK": "TAG#{index:02d}"}},
]


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path, **IMAGES) as made:
        made.collection.delete_many({})
        made.collection.create_index("mail", unique=True)
        made.collection.insert_many([document(n, random.Random(n)) for n in range(DOCUMENTS)])
        made.command.job["source"]["filter"] = {"hidden": {"$ne": True}}
        made.command.job["items"] = RULES
        yield made


def document(number: int, random_: random.Random) -> dict[str, Any]:
    return {
        "_id": number,
        "user": {"id": random_.randint(0, 9)},
        "status": "open",
        "mail": f"m{number}",
        "tags": random_.sample("abcdef", random_.randint(0, 4)),
    }


def change(collection: Any, random_: random.Random, session: Any) -> None:
    one = {"_id": random_.randrange(DOCUMENTS)}
    other = random_.randrange(DOCUMENTS)
    match random_.randrange(9):
        case 0:
            collection.update_one(one, {"$set": {"user.id": random_.randint(0, 9)}}, session=session)
        case 1:
            status = random_.choice(("open", "draft", "void"))
            collection.update_one(one, {"$set": {"status": status}}, session=session)
        case 2:
            tags = random_.sample("abcdef", random_.randint(0, 4))
            collection.update_one(one, {"$set": {"tags": tags}}, session=session)
        case 3:
            collection.update_one(one, {"$unset": {"tags": ""}}, session=session)
        case 4:
            hidden = random_.random() < 0.5
            collection.update_one(one, {"$set": {"hidden": hidden}}, session=session)
        case 5:
            collection.delete_one(one, session=session)
        case 6:
            new = document(one["_id"], random_)
            taken = collection.find_one({"mail": new["mail"], "_id": {"$ne": new["_id"]}}, session=session)
            if taken is None:
                collection.replace_one(one, new, upsert=True, session=session)
        case _:  # what another one had, if nobody has it
            mail = f"m{other}"
            if collection.find_one({"mail": mail}, session=session) is None:
                collection.update_one(one, {"$set": {"mail": mail}}, session=session)
            else:
                collection.update_one(one, {"$set": {"mail": f"x{one['_id']}"}}, session=session)


def changed(streamed: Streamed, random_: random.Random, transactions: int) -> None:
    """Be the application for a while."""
    for _ in range(transactions):
        with streamed.mongo.start_session() as session:
            session.start_transaction()
            for _ in range(random_.choice((1, 1, 2, 5, 60))):
                change(streamed.collection, random_, session)
            if random_.random() < 0.15:
                session.abort_transaction()
            else:
                session.commit_transaction()


def expected(streamed: Streamed) -> dict[str, Any]:
    """Return the items that the collection has now, by a way of its own."""
    made: dict[str, Any] = {}
    for each in streamed.collection.find({"hidden": {"$ne": True}}):
        if each["status"] == "open":
            made[f"USER#{each['user']['id']}|ORDER#{each['_id']}"] = {"status": {"S": "open"}}
        made[f"MAIL#{each['mail']}|MAIL"] = {"of": {"N": each["_id"]}}
        for place in range(len(each.get("tags", []))):
            made[f"ORDER#{each['_id']}|TAG#{place:02d}"] = {}
    return made


def held(streamed: Streamed) -> dict[str, Any]:
    target = streamed.command.job["target"]
    return {
        place: {name: value for name, value in item.items() if name not in ("PK", "SK")}
        for place, item in loads.items(target["endpoint_url"], target["table"]).items()
    }


def caught_up(streamed: Streamed) -> None:
    ended = streamed.command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    loads.assert_balanced(ended.report)


@pytest.mark.parametrize("seed", [1])
def test_whatever_changes_and_whenever_a_run_is_killed_nothing_is_missing_or_left(
    streamed: Streamed, seed: int
) -> None:
    random_ = random.Random(seed)
    caught_up(streamed)
    assert held(streamed) == expected(streamed)
    for number in range(4):
        changed(streamed, random_, 40)
        if number % 2:
            process = streamed.command.start("run", "--workers", "1")
            deadline = time.monotonic() + random_.uniform(1.0, 3.0)
            while process.poll() is None and time.monotonic() < deadline:
                changed(streamed, random_, 1)
            kill_group(process)
        else:
            caught_up(streamed)
    for _ in range(2):  # one that was killed is gone on with, then what came behind it is read
        caught_up(streamed)
    assert held(streamed) == expected(streamed)


def test_a_follower_that_is_killed_while_documents_take_keys_from_each_other_ends_as_a_fresh_load(
    streamed: Streamed,
) -> None:
    random_ = random.Random(5)
    keys = mongo_log_keys
    streamed.collection.drop_indexes()
    streamed.collection.delete_many({})
    quiet = [
        {"_id": -n, "k": value, "deep": {"r": "ab"[n % 2]}, "tags": ["p"], "v": "quiet"}
        for n, value in enumerate(keys.ALIKE, 1)
    ]
    streamed.collection.insert_many(quiet)  # they lose to whoever comes, and have the keys back when it goes
    streamed.command.job["items"] = [keys.BY_K, keys.BY_TAG, keys.BY_R, keys.OWN]
    for _ in range(60):
        keys.changed(streamed, random_)
    caught_up(streamed)
    for _ in range(2):
        process = streamed.command.start("run", "--follow", "--workers", "1")
        before = keys.held(streamed)
        while keys.held(streamed) == before:
            assert process.poll() is None, process.communicate()
            for _ in range(20):
                keys.changed(streamed, random_)
        streamed.collection.delete_many({"_id": {"$gt": random_.choice((5, 15))}})
        kill_group(process)
    streamed.collection.delete_many({"_id": {"$gt": 0}})
    caught_up(streamed)
    assert keys.held(streamed) == keys.fresh(streamed)
