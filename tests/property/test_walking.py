"""Whatever the document: the walk in C gives what the one in Python gives, and takes nearly all."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hatch_build
from connectors.dynamodb.documents.json_walk import documents_from_json, documents_one_by_one
from engine.documents import walking
from engine.documents.walking import SHARE
from tests.support import json_texts
from tests.support.attribute_values import DECIMALS, JSON_TEXTS

pytestmark = pytest.mark.skipif(walking._WALK is None, reason=f"documents are walked {walking.WAY}")

EXPONENTS = st.builds(
    lambda number, letter, sign, power: f"{number}{letter}{sign}{power}",
    DECIMALS,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-", "-0"]),
    st.integers(0, 200),
)
JUNK = st.text('{}[]",:\\u0018dDeE+-. tfn\n\x01é😀', max_size=20)


def shares(texts: list[str | None], first: int = 0) -> float:
    """Compare both ways; return the share that went the fast one, of documents without a flaw."""
    column = pa.array(texts, pa.string()).slice(first)
    alone = SHARE.alone
    got, wanted = documents_from_json(column).to_pylist(), documents_one_by_one(column).to_pylist()
    for text, one, other in zip(column.to_pylist(), got, wanted, strict=True):
        assert one == other, text
    sound = sum(row is not None and row["flaw"] is None for row in wanted)
    flawed = sum(row is not None and row["flaw"] is not None for row in wanted)
    return 1 - (SHARE.alone - alone - flawed) / max(sound, 1)


@settings(deadline=None)
@given(st.lists(st.none() | JSON_TEXTS | DECIMALS | EXPONENTS | JUNK, max_size=5))
def test_both_ways_give_the_same(texts):
    assert shares(texts) == 1.0, "what has no flaw needs no Python"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", [json_texts.sound, json_texts.any_text])
def test_random_documents_are_the_same_and_go_the_fast_way(form, seed):
    random = Random(seed)
    texts = [None if random.random() < 0.02 else form(random) for _ in range(400)]
    texts = [text and text.encode("utf-8", "replace").decode() for text in texts]
    assert shares(texts, random.randrange(50)) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        "1" * 400,
        "-" + "9" * 38 + "e87",
        "0." + "0" * 399 + "1",
        "1e" + "9" * 400,
        "0e" + "9" * 400,
        "1" + "0" * 400 + "e-400",
        '"' + "\\u0000" * 100_000 + '"',
        '"' + "\\" * 99_999,
        '{"' + "k" * 1_000_000 + '":"' + "é" * 1_000_000 + '"}',
        "[" + ",".join(["0"] * 200_000) + "]",
        '{"":1}',
        '{"a":{"":{}}}',
    ],
    ids=range(15),
)
def test_what_is_huge_or_deep_is_the_same_too(text):
    shares(["[1]", text, text[:-1], '"x"'])


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
FUZZ = Path(__file__).parents[1] / "support" / "fuzz_walk.py"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_input_makes_the_walk_read_or_write_where_it_may_not(tmp_path):
    built = tmp_path / "_walk.so"
    fault = hatch_build.compiled(built, SANITIZERS)
    runtime = subprocess.run(
        [*(hatch_build.compiler() or ["cc"]), "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if fault is not None or not Path(runtime).is_absolute():
        pytest.skip(fault or "the compiler has no address sanitizer")
    settings = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, FUZZ, built, os.environ.get("FUZZ_SEEDS", "20")],
        env={**os.environ, **settings, "PYTHONPATH": str(hatch_build.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    print(done.stdout)
