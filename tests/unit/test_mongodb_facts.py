"""What plan warns of before a collection is read: no more than there is reason for."""

from dataclasses import replace

import pytest

from connectors.mongodb.facts import CollectionFacts, outlasts, warnings

PLAIN = CollectionFacts(documents=5_000_000, chosen_by=(), capped=False, read_preference="primary", age_s=2.0)


def test_a_plain_collection_gives_no_reason() -> None:
    assert warnings(PLAIN) == []
    assert warnings(replace(PLAIN, read_preference="secondary")) == [], "its snapshot is one point in time"
    assert warnings(replace(PLAIN, documents=500, chosen_by=("source.filter",))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"chosen_by": ("source.watermark",)},
            "For source.watermark the server looks at all 5,000,000 documents in each catch-up run",
        ),
        (
            {"chosen_by": ("source.filter", "source.watermark")},
            "For source.filter and source.watermark the server looks at all 5,000,000 documents in each run",
        ),
        ({"capped": True}, "capped: a document that newer ones push out"),
        ({"read_preference": "secondaryPreferred", "age_s": None}, "readPreference=secondaryPreferred"),
        ({"age_s": 95.0}, "The snapshot is 95 s old"),
    ],
)
def test_each_reason_is_one_sentence(changes: dict[str, object], said: str) -> None:
    (warning,) = warnings(replace(PLAIN, **changes))  # type: ignore[arg-type]
    assert said in warning


def test_a_load_that_outlasts_its_snapshot_is_told_what_to_raise() -> None:
    said = outlasts(300.0, "2 h")
    assert "takes about 2 h, and the server keeps a snapshot for 300 s" in said
    assert "minSnapshotHistoryWindowInSeconds" in said
