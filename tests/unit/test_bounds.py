"""What comes from outside is bounded before it is taken: job files, heads of answers, stored letters."""

import zlib
from base64 import b64encode
from pathlib import Path

import pytest

from connectors.dynamodb.http.connection import HEAD_BYTES_MAX
from connectors.dynamodb.state import letters
from engine.errors import JobError
from engine.job.file import FILE_BYTES_MAX, load
from engine.job.interpolation import PUT_IN_CHARS_MAX, Interpolation
from engine.job.yaml_core import parse_yaml
from tests.support.stub_server import answer, http, raw, stub_server
from tests.support.transport import Run, failure, send, transport_to

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


def test_aliases_that_stand_for_too_much_are_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    for text in (BOMB, f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"):
        file.write_text(text)
        with pytest.raises(JobError, match=r"job.yaml: its aliases .* stand for more than a job can hold"):
            load(file, env={})


def test_aliases_that_jobs_use_stay() -> None:
    rules = ", ".join(["*rule"] * 50)
    data = parse_yaml(f"rule: &rule {{key: {{PK: a, SK: b}}, include: all}}\njobs: [{rules}]\n")
    assert data["jobs"][49] == {"key": {"PK": "a", "SK": "b"}, "include": "all"}


def test_a_file_without_an_end_is_a_sentence(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path / "large.yaml"):
        if path.parent == tmp_path:
            path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
        with pytest.raises(
            JobError, match=f"{path}: it is larger than 4,000,000 bytes; give the path of a job"
        ):
            load(path, env={})


def test_variables_put_in_are_bounded_together() -> None:
    large = "x" * 1_000_000
    fill = Interpolation({"LARGE": large})
    with pytest.raises(JobError, match=r"b\[\d+\]: with LARGE the variables put in come to more"):
        fill({"b": ["${LARGE}"] * (PUT_IN_CHARS_MAX // len(large) + 1)})


def test_a_head_without_an_end_is_cut_off(run: Run) -> None:
    async def main() -> None:
        line = b"X-Junk: " + b"x" * 1_000 + b"\r\n"
        long = b"HTTP/1.1 200 OK\r\n" + line * (2 * HEAD_BYTES_MAX // len(line))
        one = b"HTTP/1.1 200 OK\r\nX-Junk: " + b"x" * 2 * HEAD_BYTES_MAX
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * (2 * HEAD_BYTES_MAX // 25)
        for head in (long, one, interim):
            async with stub_server(raw(head, close=False), answer(b"2")) as stub:
                transport = transport_to(stub)
                fault = await failure(transport)
                assert "sent headers longer than 65536 bytes" in str(fault)
                assert await send(transport) == b"2"
                await transport.close()

    run(main())


def test_a_long_body_is_no_long_head(run: Run) -> None:
    async def main() -> None:
        body = b"x" * 8 * HEAD_BYTES_MAX
        async with stub_server(raw(http(body))) as stub:
            transport = transport_to(stub)
            assert await send(transport) == body
            await transport.close()

    run(main())


def parts(*packed: bytes) -> list[dict[str, dict[str, str]]]:
    return [{"SK": {"S": "LETTERS#1#1#0"}, "lines": {"B": b64encode(each).decode()}} for each in packed]


def test_letters_come_back_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'{"a": 1}\n' * 1_000
    packed = zlib.compress(text)
    assert letters.unpacked(parts(packed[:20], packed[20:])) == text
    for damaged in (packed[:-4], b"no zlib", b""):
        with pytest.raises(JobError, match=r"LETTERS#1#1#0 are damaged \((their end is missing|.*header)"):
            letters.unpacked(parts(damaged))
    monkeypatch.setattr(letters, "LETTERS_TEXT_BYTES_MAX", 1_000)
    with pytest.raises(JobError, match="they expand to more than 1,000 bytes"):
        letters.unpacked(parts(packed))
