"""What mode newer compares, as the job makes it: its attribute must say all that tells two versions apart.

Invariant: a version that is cut (`as: epoch_s`, a format without a fraction), or made text that doesn't sort
as its value does, is refused before anything is read.
"""

import re
from collections.abc import Mapping

from engine.errors import JobError
from engine.job.items import Filled, ItemRule, Sql
from engine.job.model import Job
from engine.job.template import Placeholder
from engine.kinds import Document, Kind, RowSchema, Scalar

_COMPOSED = {"F": "Ymd", "T": "HMS"}
_SORTS, _SORTS_DAYS = "YmdHMSf", "Ymd"
_FIX = "; {column:%Y-%m-%dT%H:%M:%S.%fZ} says all of it, and so does `as: epoch_us`"


def check_versions(job: Job, schema: RowSchema) -> None:
    """Check the attribute that `target.version` names in every rule. Raises: JobError."""
    if job.target.compared is None:
        return
    kinds = {} if job.hook else {column.name: column.kind for column in schema.visible}
    for number, rule in enumerate(job.items):
        fault = _fault(job, rule, kinds)
        if fault is not None:
            raise JobError(f"target.version: {job.target.compared} of items[{number}] {fault}")


def _fault(job: Job, rule: ItemRule, kinds: Mapping[str, Kind]) -> str | None:
    made = dict(rule.attribute_rules()).get(job.target.compared or "")
    match made:
        case Filled(template, wanted):
            parts = [part for part in template if isinstance(part, Placeholder)]
            if not parts:
                return None
            if len(parts) > 1:
                return "is made of several values, whose text needn't sort as they do; name one"
            each = rule.for_each is not None and (parts[0].of_element or parts[0].of_position)
            return _of_one(job, parts[0], wanted, {} if each else kinds, alone=len(template) == 1)
        case Sql():
            return _cut(job, made.as_, None)
        case _:
            return None


def _of_one(
    job: Job, part: Placeholder, wanted: str | None, kinds: Mapping[str, Kind], *, alone: bool
) -> str | None:
    kind = kinds.get(".".join(part.path))
    if part.format is not None:
        if "%" not in part.format:
            return "is a number as text, which sorts wrongly once it is longer; leave the format out"
        return _unsorted(part.format, kind)
    if (not alone or wanted == "S") and kind is not None and kind is not Scalar.STRING:
        return "is made text, which needn't sort as its value does; leave the value as it is, alone"
    return _cut(job, wanted, kind)


def _cut(job: Job, wanted: str | None, kind: Kind | None) -> str | None:
    """Say what a conversion to a time leaves out; some sources' times have milliseconds only."""
    if wanted not in ("epoch_s", "epoch_ms") or kind is Scalar.DATE:
        return None
    in_milliseconds = job.source.CLOCK_DIGITS <= 3 and (kind is None or isinstance(kind, Document))
    if wanted == "epoch_ms" and in_milliseconds:
        return None
    return f"is cut by `as: {wanted}`, so that rows of one moment are skipped as equal; use `as: epoch_us`"


def _unsorted(value_format: str, kind: Kind | None) -> str | None:
    directives = "".join(_COMPOSED.get(each, each) for each in re.findall("%(.)", value_format))
    if directives == _SORTS or (kind is Scalar.DATE and directives == _SORTS_DAYS):
        return None
    if sorted(directives) == sorted(_SORTS) or not _SORTS.startswith(directives):
        return f"has the format {value_format}, whose texts don't sort by time" + _FIX
    return f"has the format {value_format}, which leaves out what tells two moments apart" + _FIX
