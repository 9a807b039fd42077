"""What jobs of a file that go by one log know of each other, and up to where it may be let go."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.log_told import told
from connectors.postgres.slots import let_go_to
from engine.contracts.feed import LogUser
from engine.errors import BackfillError, JobError
from engine.job.model import Job
from engine.run.one_log import LogUses, NeedUnsaid


def jobs(*names: str) -> list[Job]:
    made = [
        Job.model_validate(
            {
                "name": name,
                "source": {
                    "type": "postgres",
                    "url": "postgresql://h/d",
                    "table": name,
                    "catch_up": {"type": "log", "slot": "s"},
                },
                "target": {"type": "dynamodb", "table": "items"},
                "items": [{"name": "R", "key": {"PK": "{id}"}}],
            }
        )
        for name in names
    ]
    return [job.beside([each for each in made if each is not job]) for job in made]


@given(st.integers(0, 99), st.lists(st.integers(0, 99)))
def test_a_slot_moves_up_to_where_whoever_is_furthest_behind_needs_it(own: int, others: list[int]) -> None:
    to = let_go_to(own, others)
    assert to is not None
    assert all(to <= each for each in (own, *others))
    assert to in (own, *others)
    assert let_go_to(own, None) is None


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_whatever_jobs_do_in_whatever_order_the_slot_never_passes_what_one_of_them_needs(
    random: Random, count: int
) -> None:
    """They load, read on, are killed before anything is said, start afresh; one asks a checkpoint, or not."""
    mates = jobs(*(f"j{n}" for n in range(count)))
    durable: dict[str, int] = {}
    end, slot = 0, 0

    async def ask(job: Job) -> str | None:
        need = durable.get(job.name)
        return None if need is None else str(need)

    async def play() -> None:
        nonlocal end, slot
        uses = LogUses(ask)
        for _ in range(40):
            end += random.randint(0, 3)
            job = random.choice(mates)
            use = uses.of(job, lambda _: None)
            match random.choice(("load", "read", "say nothing", "new process")):
                case "new process":
                    uses = LogUses(ask)
                case "load":
                    durable[job.name] = end
                    use.needs(str(end))
                case what if job.name in durable:
                    durable[job.name] = random.randint(durable[job.name], end)
                    if what == "read":
                        use.needs(str(durable[job.name]))
                        needed = await use.needed()
                        assert needed is not None
                        slot = max(slot, let_go_to(durable[job.name], [int(each) for each in needed]) or 0)
            assert all(slot <= need for need in durable.values())

    asyncio.run(play())


async def test_what_cannot_be_told_keeps_all_and_is_said_once() -> None:
    a, _ = jobs("a", "b")
    said: list[str] = []
    fails: list[BackfillError] = [JobError("b: the state is damaged")]

    async def ask(_: Job) -> str | None:
        raise fails[0]

    use = LogUses(ask).of(a, said.append)
    assert await use.needed() is None
    assert await use.needed() is None
    assert said == ["all of the log is kept: what b needs of it can't be told (b: the state is damaged)"]
    fails[0] = NeedUnsaid("b is about to begin")
    said.clear()
    assert await LogUses(ask).of(a, said.append).needed() is None
    assert not said


async def test_what_a_load_that_begins_needed_before_counts_until_its_checkpoint_says_otherwise() -> None:
    a, b = jobs("a", "b")
    found: dict[str, str] = {}

    async def ask(job: Job) -> str | None:
        if job.name not in found:
            raise NeedUnsaid("it is about to begin")
        return found[job.name]

    for before, counts in ((None, "9"), ("5", "5")):
        found |= {"a": before} if before else {}
        uses = LogUses(ask)
        beginning = uses.of(a, lambda _: None)
        await beginning.begins("9")
        assert await uses.of(b, lambda _: None).needed() == [counts]
        await beginning.begins("11")
        assert await uses.of(b, lambda _: None).needed() == [counts]
        beginning.needs("11")
        assert await uses.of(b, lambda _: None).needed() == ["11"]


async def test_a_checkpoint_is_read_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = jobs("a", "b")
    asked: list[str] = []

    async def ask(job: Job) -> str | None:
        asked.append(job.name)
        return "7"

    uses = LogUses(ask)
    use = uses.of(a, lambda _: None)
    assert [await use.needed() for _ in range(3)] == [["7"]] * 3
    assert asked == ["b"]
    monkeypatch.setattr("engine.run.one_log.ASK_S", 0.0)
    uses = LogUses(ask)
    await uses.of(a, lambda _: None).needed()
    await uses.of(a, lambda _: None).needed()
    assert asked == ["b"] * 3
    uses.of(b, lambda _: None).needs("9")
    assert await uses.of(a, lambda _: None).needed() == ["9"]
    assert asked == ["b"] * 3


@pytest.mark.parametrize(
    ("kept", "users", "said"),
    [
        (None, [LogUser("a", None)], "the source keeps nothing of its log for this job: there is no s"),
        (2048, [LogUser("a", "0/10")], "the source keeps 2.0 KB of its log for this job (s)"),
        (
            2048,
            [
                LogUser("a", "0/FF0"),
                LogUser("b", "0/800"),
                LogUser("c", None),
                LogUser("d", None, known=False),
            ],
            "the source keeps 2.0 KB of its log for a, b, c, d (s); b is 2.0 KB behind, which is what it is"
            " kept for; a is 16 B behind; d can't be told; c has no full run here, and nothing waits for it",
        ),
    ],
)
def test_whoever_holds_the_log_back_is_named(kept: int | None, users: Sequence[Any], said: str) -> None:
    assert told("s", kept, 0x1000, users) == said
