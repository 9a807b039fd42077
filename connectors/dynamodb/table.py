"""Tables: describe one, create one, check that a job's keys fit it.

Invariant: this is the control plane, call by call (http/calls.py); no item goes this way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from connectors.dynamodb.connector import section_of
from connectors.dynamodb.errors import Subject
from connectors.dynamodb.expiry import TimeToLive, time_to_live
from connectors.dynamodb.http.calls import CallRefused, Calls, told
from connectors.dynamodb.http.session import Session, open_session
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table_info import WRITABLE, TableInfo, table_info
from connectors.dynamodb.table_request import (
    OPTIONAL,
    create_request,
    key_differences,
    missing_indexes,
    pending,
)
from engine.errors import JobError, TransientError
from engine.job.model import Job

NO_KEY = "INACCESSIBLE_ENCRYPTION_CREDENTIALS"
"""Source: API reference, TableDescription.TableStatus."""
POLL_S = 2.0
POLL_LOOPBACK_S = 0.05

CREATE_POLLS_MAX = 3600
"""Two hours: an index of an empty table takes minutes, warming a table longer."""

Notify = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


async def describe(section: DynamoDBSection, session: Session | None = None) -> TableInfo | None:
    """Return what the target's table is, or None if there is no such table."""
    session = session or await open_session(section)
    with told(_subject(section, session)):
        async with session.calls() as call:
            table = await _describe(call, section.table)
            if table is None:
                return None
            return table_info(table, await _pitr(call, section.table), await _ttl(call, section.table))


async def create(section: DynamoDBSection, on_status: Notify, *, sleep: Sleep = asyncio.sleep) -> TableInfo:
    """Create the table as `target.create` says, and wait until it and its indexes are active.

    Doing it again is harmless: a table that is there with the same keys is left as it is.
    Raises: JobError when a table with other keys is there; PermanentError, TransientError.
    """
    if section.create is None:
        raise JobError(f"target.create is missing: it says how to create the table {section.table}")
    session = await open_session(section)
    for notice in session.notices:
        on_status(notice)
    with told(_subject(section, session)):
        async with session.calls() as call:
            table = await _describe(call, section.table)
            if table is None:
                on_status(f"table {section.table}: creating")
                request = create_request(section.table, section.create)
                await _create_table(call, request, session.endpoint.loopback, on_status)
            else:
                _compare(table_info(table), section, on_status)
            poll_s = POLL_LOOPBACK_S if session.endpoint.loopback else POLL_S
            table = await _wait(call, section.table, on_status, sleep, poll_s)
            pitr = await _pitr(call, section.table)
            if section.create.pitr and not pitr:
                pitr = await _switch_pitr_on(
                    call, section.table, session.endpoint.loopback, on_status, sleep, poll_s
                )
            on_status(f"table {section.table}: ready")
            return table_info(table, pitr)


def check_keys(info: TableInfo, job: Job) -> None:
    """Check that every rule gives the table's key attributes, and that the table takes writes.

    Raises: JobError.
    """
    wanted = [key.name for key in info.keys]
    for number, rule in enumerate(job.items):
        if set(rule.key) != set(wanted):
            raise JobError(
                f"items[{number}].key gives {' and '.join(rule.key) or 'nothing'}, but the key of table "
                f"{info.name} is {' and '.join(wanted)}: name exactly these"
            )
    if section_of(job).expired == "skip" and info.ttl is None:
        raise JobError(
            f"target.expired: skip leaves out what the time to live of {info.name} has expired, and as far as"
            " DescribeTimeToLive tells it has none that is on: switch it on, allow that call, or drop the key"
        )
    if info.status == NO_KEY:
        raise JobError(
            f"target.table: the KMS key that encrypts {info.name} can't be used: it is disabled, scheduled"
            " for deletion, or its grant is gone; enable it in AWS KMS, then start again"
        )
    if info.status not in WRITABLE:
        raise JobError(
            f"target.table: {info.name} is {info.status}: wait until it is ACTIVE, then start again"
        )


async def _describe(call: Calls, name: str) -> dict[str, Any] | None:
    try:
        answer = await call("DescribeTable", TableName=name)
    except CallRefused as refused:
        if refused.code == "ResourceNotFoundException":
            return None
        raise
    table: dict[str, Any] | None = answer.get("Table")
    if table is None:
        raise CallRefused("DescribeTable", 200, {})
    return table


async def _pitr(call: Calls, name: str) -> bool | None:
    """Return whether point-in-time recovery is on; None where that isn't known or isn't to be known."""
    try:
        answer = await call("DescribeContinuousBackups", TableName=name)
    except CallRefused:
        return None
    recovery = answer.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    return bool(recovery.get("PointInTimeRecoveryStatus") == "ENABLED")


async def _ttl(call: Calls, name: str) -> TimeToLive | None:
    """Return by what items expire; None where they don't, or that isn't known or isn't to be known."""
    try:
        return time_to_live(await call("DescribeTimeToLive", TableName=name), int(time.time()))
    except CallRefused:
        return None


async def _create_table(call: Calls, request: dict[str, Any], emulator: bool, on_status: Notify) -> None:
    """Create the table; at an emulator without what it refuses, but said so."""
    droppable = [name for name in OPTIONAL if emulator and name in request]
    dropped: list[str] = []
    while True:
        try:
            await call("CreateTable", **request)
        except CallRefused as refused:
            if refused.code == "ResourceInUseException":
                return  # somebody else has just created it: waiting for it is all there is to do
            if not droppable:
                raise
            dropped.append(droppable.pop(0))
            request = _without(request, dropped[-1])
        else:
            break
    if dropped:
        on_status(f"this emulator refuses a table with {', '.join(dropped)}: created without")


def _without(request: dict[str, Any], option: str) -> dict[str, Any]:
    """Return the request without one option, in the table and in its indexes."""
    rest = {name: value for name, value in request.items() if name != option}
    if "GlobalSecondaryIndexes" in rest:
        rest["GlobalSecondaryIndexes"] = [
            {name: value for name, value in index.items() if name != option}
            for index in rest["GlobalSecondaryIndexes"]
        ]
    return rest


def _compare(info: TableInfo, section: DynamoDBSection, on_status: Notify) -> None:
    assert section.create is not None
    differences = list(key_differences(info, section.create))
    if differences:
        raise JobError(
            f"target.table: {info.name} is there already, but {'; '.join(differences)}: "
            "choose another name or correct target.create"
        )
    on_status(f"table {info.name} is there already with these keys; its other settings stay as they are")
    for name in missing_indexes(info, section.create):
        on_status(f"table {info.name} has no index {name}: add it with `aws dynamodb update-table`")


async def _wait(call: Calls, name: str, on_status: Notify, sleep: Sleep, poll_s: float) -> dict[str, Any]:
    """Poll until nothing is pending; say what is, whenever that changes."""
    said = ""
    for _ in range(CREATE_POLLS_MAX):
        table = await _describe(call, name)  # None at first: descriptions are eventually consistent
        waiting_for = ["table CREATING"] if table is None else pending(table)
        if table is not None and not waiting_for:
            return table
        if (saying := f"table {name}: waiting, {', '.join(waiting_for)}") != said:
            on_status(said := saying)
        await sleep(poll_s)
    raise TransientError(f"table {name} still isn't active: look at it in the AWS console, then start again")


async def _switch_pitr_on(
    call: Calls, name: str, emulator: bool, on_status: Notify, sleep: Sleep, poll_s: float
) -> bool | None:
    for _ in range(CREATE_POLLS_MAX):
        try:
            await call(
                "UpdateContinuousBackups",
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        except CallRefused as refused:
            if refused.code == "ContinuousBackupsUnavailableException":
                await sleep(poll_s)  # a new table's backups are still being set up
                continue
            if not emulator:
                raise
            on_status(f"this emulator has no point-in-time recovery: table {name} is without")
            return None
        else:
            on_status(f"table {name}: point-in-time recovery is on")
            return True
    raise TransientError(
        f"point-in-time recovery of table {name} can't be switched on yet: start again later"
    )


def _subject(section: DynamoDBSection, session: Session) -> Subject:
    return Subject("target.table", f"table {section.table}", session.endpoint.authority)
