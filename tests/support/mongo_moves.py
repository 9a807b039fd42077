"""Ways in which a collection moves away from under a reading: each changes what a name means.

Shape: a move takes a database of PyMongo's blocking client; the collection is `c`. Those of MOVED end a run;
those of THERE AND BACK leave everything as it was.
"""

from collections.abc import Callable
from typing import Any

Move = Callable[[Any], None]


def rename(db: Any) -> None:
    db.c.rename("c_old")


def rename_over(db: Any) -> None:
    db.c_new.insert_many([{"_id": n, "n": -1 - n} for n in range(500)])
    db.c_new.rename("c", dropTarget=True)


def drop(db: Any) -> None:
    db.c.drop()


def make_again(db: Any) -> None:
    db.c.drop()
    db.c.insert_many([{"_id": n, "n": -1 - n} for n in range(500)])


def swap(db: Any) -> None:
    db.c.rename("c_old")
    db.c_new.insert_many([{"_id": n, "n": -1 - n} for n in range(500)])
    db.c_new.rename("c")


MOVES: dict[str, Move] = {
    "renamed": rename,
    "another renamed over it": rename_over,
    "dropped": drop,
    "made again": make_again,
    "swapped": swap,
}


def there_and_back(db: Any) -> None:
    db.c.rename("c_old")
    db.c_old.rename("c")


def grow(db: Any) -> None:
    db.c.create_index("n")
    db.other.insert_one({})
    db.c.update_one({"_id": 0}, {"$set": {"more": 1}})


def compact(db: Any) -> None:
    db.command("compact", "c", force=True)


PASSING: dict[str, Move] = {"there and back": there_and_back, "an index": grow, "compacted": compact}
