"""By what the rows that make one key find each other, and where that can't be said."""

from engine.contracts.source import Sharing
from engine.rules.peers import Untold, sharing_by_log, sharing_of
from engine.rules.uniqueness import KeyProof, RuleKeys

PROVED = RuleKeys("Row", frozenset({"id"}))
EMAIL = RuleKeys("Email", frozenset({"email"}), "may repeat", "an index")
PLACE = RuleKeys("Place", frozenset({"region", "code"}), "may repeat", "an index")
DAY = RuleKeys("Day", frozenset(), "may repeat", "an index")


def test_each_rule_that_may_repeat_gives_a_way_to_be_peers() -> None:
    assert sharing_of(KeyProof((PROVED, EMAIL, PLACE, EMAIL))) == Sharing((("email",), ("code", "region")))


def test_what_the_user_says_needs_no_peers() -> None:
    said = RuleKeys("Day", frozenset(), "may repeat", "an index", said=True)
    assert sharing_of(KeyProof((EMAIL, said))) == Sharing((("email",),))


def test_a_key_that_tells_no_column_has_rows_that_nobody_finds() -> None:
    found = sharing_of(KeyProof((EMAIL, DAY)))
    assert isinstance(found, Untold)
    assert ("rule Day" in found.reason, found.way_out) == (True, "an index")


def test_rules_that_may_meet_have_rows_that_nobody_finds() -> None:
    found = sharing_of(KeyProof((EMAIL, PLACE), between="the rules Email and Place may give equal keys"))
    assert isinstance(found, Untold)
    assert "Email and Place" in found.reason


def test_a_log_takes_no_word_and_needs_no_peers_where_a_key_tells_its_row() -> None:
    said = RuleKeys("Said", frozenset({"email"}), "may repeat", "an index", said=True)
    elements = RuleKeys("List", frozenset({"id"}), "elements may repeat", "an index", row_told=True)
    assert sharing_by_log(KeyProof((PROVED, elements))) is None
    assert sharing_by_log(KeyProof((said, elements, PLACE))) == Sharing((("email",), ("code", "region")))
    assert isinstance(sharing_by_log(KeyProof((EMAIL, DAY))), Untold)
    assert isinstance(sharing_by_log(KeyProof((EMAIL, said), between="they may meet", said=True)), Untold)
