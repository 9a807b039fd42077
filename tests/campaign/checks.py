"""What must hold after a seed: end state, balance, dead letters, keys in flight, order, pace. Pure.

A write is in flight at the server from its request's arrival to its being applied. For the client it is from
sending to the answer, or to the end of the connection. Neither may hold two different values of one key, and
no older value may be applied behind a newer one. A write that is applied behind its connection's end is a
`stray`: no client can see it, so it isn't held against order and flight; the end state is held against it.

Invariant: each check returns sentences, none of them when all is well.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.campaign.history import Entry, Life, by_runner, lives
from tests.campaign.rows import Expected, Item, plain

SHOWN = 3
FATES = ("items_written", "items_deleted", "items_skipped", "items_coalesced", "items_dead_lettered")
RECOVERY_S = 8.0
"""Generous: the pace has to be back by then; without the faults a whole seed takes less."""
WINDOW_S = 4.0
ITEMS_MIN = 100
"""Fewer in a window, with more to do and no fault for RECOVERY_S, is a pace that didn't come back."""


def end_state(expected: Mapping[str, Item], found: Mapping[str, Item]) -> list[str]:
    """Nothing lost, nothing altered, nothing foreign."""
    told = []
    lost = sorted(expected.keys() - found.keys())
    foreign = sorted(found.keys() - expected.keys())
    altered = sorted(
        key for key in expected.keys() & found.keys() if plain(expected[key]) != plain(found[key])
    )
    if lost:
        told.append(f"{len(lost)} items are missing: {lost[:SHOWN]}")
    if foreign:
        told.append(f"{len(foreign)} items are foreign: {foreign[:SHOWN]}")
    if altered:
        key = altered[0]
        told.append(f"{len(altered)} items differ: {key} is {found[key]}, must be {expected[key]}")
    return told


def balance(report: Mapping[str, Any], expected: Expected, rows: int) -> list[str]:
    """The report counts each row and item once."""
    told = []
    if report["items_emitted"] != sum(report[fate] for fate in FATES):
        told.append(f"items_emitted {report['items_emitted']} isn't the sum of {[report[f] for f in FATES]}")
    wanted = {"rows_read": rows, "items_emitted": expected.emitted, "items_dead_lettered": len(expected.dead)}
    told += [f"{name} is {report[name]}, must be {n}" for name, n in wanted.items() if report[name] != n]
    return told


def dead_letters(expected: Expected, letters: Iterable[Mapping[str, Any]]) -> list[str]:
    """Exactly those that were planted, each once."""
    found = sorted(int(next(iter(letter["source_key"].values()))) for letter in letters)
    return [] if found == sorted(expected.dead) else [f"dead letters of {found}, must be {expected.dead}"]


def in_flight(entries: Sequence[Entry]) -> list[str]:
    """Two different values of one key are never with the server together."""
    bad = []
    for key, writes in lives(entries).items():
        ordered = sorted(writes, key=lambda life: life.arrived)
        for earlier, later in pairwise(ordered):
            if _same(earlier, later) or is_stray(earlier):
                continue
            if later.arrived < earlier.applied_at:
                bad.append(f"{key}: {_told(earlier)} and {_told(later)} overlap")
    return _summed("writes of one key in flight together", bad)


def client_in_flight(entries: Sequence[Entry]) -> list[str]:
    """No value of a key is sent while the same runner still waits for the answer to another."""
    bad = []
    open_until: dict[tuple[str, str], tuple[float, int | None, int]] = {}
    for entry in sorted(entries, key=lambda entry: entry.arrived):
        ends = [moment for moment in (entry.answered, entry.ended) if moment is not None]
        end = min(ends, default=entry.arrived)
        for key, version in entry.writes:
            until, before, number = open_until.get((entry.runner, key), (0.0, version, 0))
            if entry.arrived < until and before != version:
                bad.append(f"{key}: request {entry.number} came while {number} wasn't answered")
            if end >= until:
                open_until[entry.runner, key] = (end, version, entry.number)
    return _summed("values sent before another one's end", bad)


def going_back(entries: Sequence[Entry]) -> list[str]:
    """Within one runner's life no key gets an older value behind a newer one."""
    bad = []
    for key, writes in lives(entries).items():
        newest: dict[str, Life] = {}
        for life in writes:
            if life.version is None or is_stray(life):
                continue
            before = newest.get(life.entry.runner)
            if before is not None and before.version is not None and life.version < before.version:
                bad.append(f"{key}: {_told(life)} behind {_told(before)}")
            else:
                newest[life.entry.runner] = life
    return _summed("keys went back", bad)


def two_runners(entries: Sequence[Entry]) -> list[str]:
    """Once a later runner has written, nothing comes of an earlier one."""
    bad = []
    runners = by_runner(entries)
    first = {runner: requests[0].arrived for runner, requests in runners.items()}
    for runner, requests in runners.items():
        begun = min((at for other, at in first.items() if number_of(other) > number_of(runner)), default=None)
        if begun is not None and requests[-1].arrived > begun:
            bad.append(f"{runner} wrote {requests[-1].arrived - begun:.2f} s after the next one had begun")
    return _summed("runners wrote at once", bad)


def pace(
    entries: Sequence[Entry], faults_end: float | None, spans: Mapping[str, Sequence[tuple[float, float]]]
) -> list[str]:
    """Once faults end, items are written at a pace again, as long as a run goes on.

    Units: seconds; `spans` are the times in which a runner could work, by its name, its pauses taken out.
    """
    if faults_end is None:
        return []
    bad = []
    for runner, requests in by_runner(entries).items():
        times = [entry.applied_at for entry in requests if entry.applied_at for _ in entry.applied]
        for begun, ended in spans.get(runner, ()):
            at = max(faults_end, requests[0].arrived, begun) + RECOVERY_S
            while at + WINDOW_S <= ended:
                count = sum(at <= moment < at + WINDOW_S for moment in times)
                if count < ITEMS_MIN:
                    bad.append(
                        f"{runner}: {count} items in {WINDOW_S:g} s, {at - faults_end:.0f} s behind faults"
                    )
                at += WINDOW_S
    return _summed("windows below the pace", bad)


def left_by_strays(entries: Sequence[Entry]) -> list[str]:
    """Keys whose last value came behind its connection's end and is older than one before it.

    The end state fails for them already; this says why.
    """
    bad = []
    for key, writes in lives(entries).items():
        last = writes[-1]
        newest = max((life.version for life in writes if life.version is not None), default=None)
        if is_stray(last) and last.version is not None and last.version != newest:
            bad.append(f"{key}: {_told(last)}")
    return _summed("keys were left older by requests applied behind their connection's end", bad)


def strays(entries: Sequence[Entry]) -> int:
    """Return how many writes were applied behind their connection's end."""
    return sum(len(entry.applied) for entry in entries if _late(entry))


def number_of(runner: str) -> int:
    return int(runner.rpartition("-")[2])


def is_stray(life: Life) -> bool:
    return _late(life.entry)


def _late(entry: Entry) -> bool:
    ends = [moment for moment in (entry.answered, entry.ended) if moment is not None]
    return bool(ends) and entry.applied_at is not None and entry.applied_at > min(ends)


def _same(one: Life, other: Life) -> bool:
    return one.version == other.version


def _told(life: Life) -> str:
    entry = life.entry
    return f"row {life.version} (request {entry.number} of {entry.runner}, {entry.fault or 'well'})"


def _summed(what: str, bad: Sequence[str]) -> list[str]:
    return [f"{len(bad)} {what}: {'; '.join(bad[:SHOWN])}"] if bad else []
