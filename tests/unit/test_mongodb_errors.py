"""Every error that MongoDB and its drivers know becomes one sentence of one line."""

import inspect

import pymongo.errors
import pytest
from pymongo.errors import OperationFailure, PyMongoError

from connectors.mongodb.errors import ATLAS, speaking, translated
from engine.errors import BackfillError, JobError, PermanentError, TransientError

CODES = (
    *(1, 2, 6, 7, 8, 9, 11, 13, 14, 18, 20, 24, 26, 31, 43, 46, 48, 50, 59, 63, 72, 85, 86, 89, 90),
    *(91, 96, 107, 112, 115, 117, 123, 133, 134, 136, 143, 145, 149, 150, 166, 172, 175, 179, 186),
    *(189, 190, 199, 202, 203, 206, 209, 211, 216, 221, 225, 234, 237, 238, 239, 246, 249, 250, 251),
    *(262, 263, 267, 272, 279, 280, 281, 282, 286, 290, 292, 303, 310, 314, 317, 319, 323, 333, 343),
    *(355, 358, 361, 365, 372, 384, 398, 402, 406, 407, 412, 433, 449, 450, 462, ATLAS, 9001, 10003),
    *(10058, 10107, 11000, 11600, 11601, 11602, 13388, 13435, 13436, 17280, 40324, 51024, 999_999),
)  # fmt: skip
"""Of every category of the server's list, and some that stand in none. Source: error_codes.yml."""
PLACE = "db.example:27017"
WORDS = "something, that isn't so.\nand more, full error: {'ok': 0.0, 'errmsg': 'x'}"


def kinds():
    for _, kind in inspect.getmembers(pymongo.errors, inspect.isclass):
        if issubclass(kind, PyMongoError) and not issubclass(
            kind, OperationFailure | pymongo.errors.EncryptedCollectionError
        ):
            yield kind


@pytest.mark.parametrize("words", [WORDS, "", "x" * 10])
def test_every_code_becomes_one_line_that_says_something(words):
    for code in CODES:
        error = OperationFailure(words, code, {"errmsg": words, "code": code, "ok": 0.0})
        told = str(translated(error, "source", PLACE))
        assert told.startswith("source"), code
        assert "\n" not in told
        assert "full error" not in told
        assert not told.endswith((":", ": ", ";"))


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: kind.__name__)
async def test_every_error_of_the_driver_is_one_of_ours(kind):
    with pytest.raises(BackfillError) as told:
        async with speaking("source", PLACE):
            raise kind("it went wrong")
    assert str(told.value).startswith("source")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (13, JobError),
        (18, JobError),
        (11601, TransientError),
        (999_999, PermanentError),
        (361, PermanentError),
    ],
)
def test_whose_fault_it_is(code, kind):
    assert isinstance(translated(OperationFailure("no", code, {"errmsg": "no"}), "source", PLACE), kind)


def test_a_command_that_the_server_quotes_whole_is_named_alone():
    words = (
        'not authorized on shop to execute command { listCollections: 1, filter: { name: "users" },'
        ' lsid: { id: UUID("00000000-0000-0000-0000-000000000000") }, $db: "shop" }'
    )
    told = str(translated(OperationFailure(words, 13, {"errmsg": words}), "source", PLACE))
    assert "not authorized on shop to execute command listCollections; correct" in told
    assert "lsid" not in told
