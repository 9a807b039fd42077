"""Items to the bytes that are sent: all rules of a batch in one buffer, in the order of sending. Pure.

Invariant: every emitted item is in the buffer, or coalesced, skipped or a dead letter; the buffer has nothing
that DynamoDB's documented limits forbid, and no key twice.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.documents.texts import large_text
from connectors.dynamodb.encoding.keys import key_roles
from connectors.dynamodb.encoding.order import Indexes, all_differ, left_out, one_of_each, spread
from connectors.dynamodb.encoding.rule_items import (
    Flawed,
    ItemForm,
    RulePlan,
    RuleTexts,
    encode_rule,
    plan_rule,
)
from connectors.dynamodb.encoding.values import ValueOptions
from connectors.dynamodb.expiry import TimeToLive
from connectors.dynamodb.modes import WriteMode
from connectors.dynamodb.table_info import TableInfo
from engine.batch import NO_ITEMS, NO_ROWS, Batch, DeadLetter, EncodedBatch, source_key_of
from engine.contracts.transform import RuleItems
from engine.errors import PermanentError
from engine.job.model import Options


class Encoder:
    """Turns the items of every rule of a batch into wire text. Safe to call from several threads.

    A rule is checked when its first items come, so encoding an empty batch checks the job.
    """

    def __init__(
        self,
        info: TableInfo,
        *,
        table: str,
        mode: WriteMode,
        version: str | None,
        options: Options,
        key_columns: Sequence[str],
        skips: TimeToLive | None = None,
    ) -> None:
        """Take what all items have in common.

        Shape: `table` the name or ARN that requests name; `key_columns` the source columns that tell a dead
        letter's row; `skips` by what items expire that are left out.
        """
        values = ValueOptions(
            keep_nulls=options.nulls == "keep", numbers_as_strings=options.numbers == "string"
        )
        key = tuple(attribute.name for attribute in info.keys)
        self._layout = ItemForm(table, key, key_roles(info), mode, version, values, skips)
        self._fails = options.on_invalid == "fail"
        self._key_columns = tuple(key_columns)
        self._plans: dict[int, RulePlan] = {}

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Turn items into wire text, with every limit checked.

        Ordering: each partition key's items spread over the whole, so that neighbours differ.
        Raises: JobError (a rule can never fit the table), PermanentError (`on_invalid: fail` and a bad item).
        """
        texts = [(rule, encode_rule(self._plan(rule), rule, batch.old)) for rule in items]
        letters = tuple(
            self._letter(batch, rule.name, flawed) for rule, part in texts for flawed in part.flawed
        )
        if self._fails and letters:
            number = next(rule.rule for rule, part in texts if part.flawed)
            raise PermanentError(_sentence(number, letters[0]))
        return _assembled(batch, texts, letters, self._layout.mode)

    def _plan(self, rule: RuleItems) -> RulePlan:
        plan = self._plans.get(rule.rule)
        if plan is None or plan.attributes != rule.attributes:
            plan = self._plans[rule.rule] = plan_rule(self._layout, rule.rule, rule.attributes)
        return plan

    def _letter(self, batch: Batch, rule: str, flawed: Flawed) -> DeadLetter:
        reason, _, detail = flawed.flaw.partition(": ")
        source_key = source_key_of(batch, self._key_columns, flawed.row)
        return DeadLetter(rule, reason, detail, source_key, flawed.item_json)


def _sentence(rule: int, letter: DeadLetter) -> str:
    key = ", ".join(f"{name}={value}" for name, value in letter.source_key.items()) or "a row without a key"
    return (
        f"items[{rule}]: {letter.reason}: {letter.detail} (source row {key}); mend the row or the rule,"
        " or set options.on_invalid to dead_letter to go on without such items"
    )


def _assembled(
    batch: Batch,
    texts: Sequence[tuple[RuleItems, RuleTexts]],
    letters: tuple[DeadLetter, ...],
    mode: WriteMode,
) -> EncodedBatch:
    emitted = sum(len(rule.frame) for rule, _ in texts)
    parts = [part for _, part in texts]
    letter_rows = np.array([flawed.row for part in parts for flawed in part.flawed], np.uint32)
    skipped_rows = np.concatenate([part.skipped for part in parts]) if parts else NO_ROWS
    rules = np.repeat(
        np.array([rule.rule for rule, _ in texts], np.uint16), [len(part.text) for part in parts]
    )
    if not len(rules):
        return EncodedBatch(
            batch=batch,
            emitted=emitted,
            dead_letters=letters,
            letter_rows=letter_rows,
            skipped_rows=skipped_rows,
            **NO_ITEMS,
        )
    # In one chunk: out of several, each text would be copied once more.
    text = pl.concat([part.text for part in parts], rechunk=True)
    hashes = np.concatenate([part.key_hashes for part in parts])
    partition_hashes = np.concatenate([part.partition_hashes for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    gone, survivors = NO_ROWS, NO_ROWS
    if all_differ(hashes):
        order = spread(partition_hashes)
    else:
        keys = _keys(parts, rows, rules)
        left = one_of_each(hashes, keys, mode.keeps, batch.old)
        order = left[spread(partition_hashes[left])]
        gone, survivors = left_out(hashes, keys, left)
    assert len(gone) == len(rules) - len(order), "a key is left out and none of its items stays"
    order, expired_rows = _without_expired(order, parts, rows)
    array = large_text(text[order])
    _, offsets, data = array.buffers()
    return EncodedBatch(
        batch=batch,
        text=memoryview(data).cast("B"),
        offsets=np.frombuffer(offsets, np.int64)[: len(order) + 1],
        units=np.concatenate([part.units for part in parts])[order],
        key_hashes=hashes[order],
        partition_hashes=partition_hashes[order],
        deletes=np.concatenate([part.deletes for part in parts])[order],
        rows=rows[order],
        rules=rules[order],
        emitted=emitted,
        dead_letters=letters,
        letter_rows=letter_rows,
        skipped_rows=np.concatenate((skipped_rows, expired_rows)),
        coalesced_rows=gone,
        survivor_rows=survivors,
    )


def _keys(parts: Sequence[RuleTexts], rows: Indexes, rules: npt.NDArray[np.uint16]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "partition": pl.concat([part.partition for part in parts]),
            "sort": pl.concat([part.sort for part in parts]),
            "row": rows,
            "rule": rules,
            "version": pl.concat([part.version for part in parts]),
        }
    )


def _without_expired(order: Indexes, parts: Sequence[RuleTexts], rows: Indexes) -> tuple[Indexes, Indexes]:
    """Leave out what has expired of the items that stand for their keys; return the others, and its rows."""
    told = [part.expired for part in parts if part.expired is not None]
    if not told:
        return order, NO_ROWS
    assert len(told) == len(parts), "items are left out by all rules or by none"
    expired = np.concatenate(told)
    return order[~expired[order]], rows[order[expired[order]]]
