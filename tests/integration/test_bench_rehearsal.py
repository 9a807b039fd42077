"""A rehearsal of `make bench` runs whole: the command, the simulator's account, the figures."""

import pytest

from bench import compare, throttling


def test_a_rehearsal_tells_what_was_used_and_decided(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "QUICK_ROWS", 40_000)  # more than 4,000 units a second take in that time
    monkeypatch.setattr(throttling, "QUICK_S", 3)
    told: list[str] = []
    found = throttling.run(postgres_server, compare.QUICK, told.append)
    assert list(found) == ["steady"]
    steady = found["steady"]
    assert sum(second["used"] for second in steady["seconds"]) > 0
    assert steady["figures"]["used_percent"] > 0
    assert steady["figures"]["latency_p99_ms"] >= throttling.LATENCY_MS
    assert steady["decisions"], "its log, in which what was decided stands, was read"
    assert told[0].startswith("steady")
