"""Which questions to the source would prove that no two rows make one key."""

import pytest

from engine.commands.run.ways import questions
from engine.rules.uniqueness import KeyProof, RuleKeys

PROVED = RuleKeys("Proved", frozenset({"id"}))


def unproved(name: str, *shared: str) -> RuleKeys:
    return RuleKeys(name, frozenset(shared), "it may repeat", "an index")


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        (KeyProof((PROVED, unproved("A", "email"))), [{"email"}]),
        (KeyProof((unproved("A", "email"), unproved("B", "email"))), [{"email"}]),
        (
            KeyProof((unproved("A", "email"), unproved("B", "region", "code"))),
            [{"email"}, {"region", "code"}],
        ),
        (KeyProof((unproved("A", "email"), unproved("B"))), []),  # of B nothing can be read out of a key
        (KeyProof((unproved("A", "email"),), between="A and B may meet"), []),
    ],
)
def test_what_is_asked_would_prove_every_rule(proof: KeyProof, expected: list[set[str]]) -> None:
    assert [set(names) for names in questions(proof)] == expected
