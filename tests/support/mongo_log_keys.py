"""Documents that make each other's items, an application that changes them, and what a target must hold."""

from random import Random
from typing import Any

from tests.support.logged import items
from tests.support.streamed import Streamed

BY_K: dict[str, Any] = {
    "name": "K",
    "key": {"PK": "K#{k}", "SK": "K"},
    "attributes": {"of": "{_id}", "v": "{v}"},
    "delete_when": "v = 'gone'",
}
BY_R = BY_K | {"name": "R", "key": {"PK": "R#{deep.r}", "SK": "R"}}
BY_TAG = BY_K | {"name": "Tag", "for_each": "tags", "key": {"PK": "T#{k}", "SK": "{each}"}}
OWN = BY_K | {"name": "Own", "key": {"PK": "D#{_id}", "SK": "D"}}
ALIKE: list[Any] = [1, "1", 1.0, 2.5, "2.5", "x"]
"""Values of a key, some of which print alike."""


def held(streamed: Streamed) -> dict[str, tuple[int, str]]:
    """Return the document that each item is of, and what it says of it."""
    found = items(streamed.command).items()
    return {place: (int(item["of"]["N"]), item["v"]["S"]) for place, item in found}


def fresh(streamed: Streamed) -> dict[str, tuple[int, str]]:
    """Return what documents would make that are written one after the other, by the test's own reckoning."""
    found: dict[str, tuple[int, str]] = {}
    rules = [rule["name"] for rule in streamed.command.job["items"]]
    hidden = "filter" in streamed.command.job["source"]
    for document in streamed.collection.find().sort("_id"):
        if hidden and document.get("hidden"):
            continue
        k = str(document["k"]).removesuffix(".0")
        keys = [f"K#{k}|K"] if "K" in rules else []
        keys += [f"R#{document['deep']['r']}|R"] if "R" in rules else []
        keys += [f"T#{k}|{tag}" for tag in document["tags"]] if "Tag" in rules else []
        keys += [f"D#{document['_id']}|D"] if "Own" in rules else []
        for key in keys:
            if document["v"] == "gone":
                found.pop(key, None)
            else:
                found[key] = document["_id"], document["v"]
    return found


def changed(streamed: Streamed, random: Random) -> None:
    """Be an application that does something to a few documents of a few keys."""
    one, other = random.randint(1, 25), random.randint(1, 25)
    c = streamed.collection
    document = {
        "k": random.choice(ALIKE),
        "deep": {"r": random.choice("ab")},
        "tags": random.sample("pqr", random.randint(0, 3)),
        "v": random.choice(["gone", f"v{random.random()}", f"w{random.random()}"]),
    }
    match random.randrange(6):
        case 0:
            c.delete_one({"_id": one})
        case 1 | 2:
            c.replace_one({"_id": one}, document, upsert=True)
        case 3:
            c.update_many({"_id": {"$in": [one, other]}}, {"$set": {"k": document["k"]}})
        case 4:
            c.update_one({"_id": one}, {"$set": {"hidden": random.random() < 0.5, "tags": document["tags"]}})
        case 5:
            with streamed.mongo.start_session() as session, session.start_transaction():
                first, second = (
                    c.find_one({"_id": one}, session=session),
                    c.find_one({"_id": other}, session=session),
                )
                if first and second:  # keys are handed round
                    c.update_one({"_id": one}, {"$set": {"k": second["k"]}}, session=session)
                    c.update_one({"_id": other}, {"$set": {"k": first["k"]}}, session=session)
