"""What messages may say of a source's URL: the host, never a piece of the password."""

import pytest

from connectors.mongodb import session as mongodb
from connectors.postgres import session as postgres


@pytest.mark.parametrize("where", [postgres.where, mongodb.where])
@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("user:pw@db.example:5432/shop", "db.example:5432"),
        ("db.example/shop", "db.example"),
        ("user:p@w@db.example/shop", "db.example"),
        ("user:12/34@db.example/shop", "the given host"),
        ("user:12#34@db.example/shop", "the given host"),
        ("user:12?34@db.example/shop", "the given host"),
    ],
)
def test_a_password_with_unescaped_signs_is_never_taken_for_the_host(where, rest, said):
    assert where(f"scheme://{rest}") == said
