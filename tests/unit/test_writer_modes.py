"""Writing with `insert` and with `newer`: what is there is kept, or only what is older is replaced."""

import asyncio
import json

from connectors.dynamodb.http.connection import Answer
from tests.support.encoded import encoded
from tests.support.model_table import fault, lost
from tests.support.writing import Scene, on_virtual_time


class Scripted:
    """Answers PutItem, DeleteItem and BatchExecuteStatement from a list."""

    def __init__(self, script) -> None:
        self.script = iter(script)
        self.sent: list[tuple[str, dict]] = []

    async def send(self, operation, parts) -> Answer:
        self.sent.append((operation, json.loads(b"".join(parts))))
        answer = next(self.script)
        await asyncio.sleep(0.001)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(200, json.dumps(answer).encode(), None, 0.001)


def statement(pk: str) -> dict:
    return {"Statement": "INSERT INTO \"t\" VALUE {'PK':?,'it''s':?}", "Parameters": [{"S": pk}, {"S": "x"}]}


@on_virtual_time
async def test_insert_skips_what_is_there_and_repeats_what_was_throttled():
    done, there = {"TableName": "t"}, {"Error": {"Code": "DuplicateItem", "Message": "there"}}
    later, bad = (
        {"Error": {"Code": "ThrottlingError"}},
        {"Error": {"Code": "ValidationError", "Message": "bad"}},
    )
    scripted = Scripted([{"Responses": [done, there, later, bad]}, {"Responses": [done]}])
    scene = Scene(scripted, "insert")
    entries = [statement(f"p{n}") for n in range(4)]
    report = await scene.writer.write(encoded(entries, keys=[(f"p{n}", "") for n in range(4)]))
    assert (report.items_written, report.items_skipped) == (2, 1)
    (letter,) = report.dead_letters
    assert json.loads(letter.item_json) == {"PK": {"S": "p3"}, "it's": {"S": "x"}}
    assert [operation for operation, _ in scripted.sent] == ["BatchExecuteStatement"] * 2
    assert scripted.sent[1][1]["Statements"] == [entries[2]]
    await scene.writer.close()


@on_virtual_time
async def test_newer_sends_each_item_alone_and_skips_what_is_newer():
    entries = [{"TableName": "t", "Item": {"PK": {"S": f"p{n}"}}} for n in range(3)]
    entries.append({"TableName": "t", "Key": {"PK": {"S": "p3"}}})
    condition = fault(400, "ConditionalCheckFailedException")
    scripted = Scripted([{}, condition, lost(sent=True), {}, {}])
    scene = Scene(scripted, "newer")
    report = await scene.writer.write(encoded(entries, keys=[(f"p{n}", "") for n in range(4)]))
    assert (report.items_written, report.items_deleted, report.items_skipped) == (2, 1, 1)
    assert [operation for operation, _ in scripted.sent] == ["PutItem"] * 3 + ["DeleteItem", "PutItem"]
    assert scripted.sent[2][1] == scripted.sent[4][1] == entries[2]
    await scene.writer.close()
