"""Whatever the document: the walk in C gives what the one in Python gives, and takes nearly all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hatch_build
from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.dynamodb.documents.json_walk import documents_from_json, documents_one_by_one
from engine.documents import cutting, walking
from engine.documents.reading import DocumentReader
from engine.documents.walking import CUTS, SHARE
from engine.kinds import DOCUMENT_TYPE, documents_array
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


NAMES = st.sampled_from(["a", "b", 'q"', "é\n", ""])
INNER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | JUNK,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES.filter(bool), inner, max_size=3),
    max_leaves=8,
)
WIRES = [
    '{"M":{"a":{"SS":["x"]},"b":{"N":"1"}}}',
    '{"SS":["x","y"]}',
    '{"NS":["1"]}',
    '{"M":{"a":{"B":"aGk="},"b":{"L":[{"B":""},{"B":"aGkx"},{"B":"aA=="}]}}}',
    '{"M":{"b":{"N":"1E+42"}}}',
    '{"M":{"b":{"N":"1.50"},"a":{"N":"010"}}}',
    '{"M":{"\\u0061":{"N":"1"},"b":{"S":"\\u0041"}}}',
    '{"L":[{"N":"1E+2"},{"S":"\\/"},{"SS":["x"]}]}',
    '{"BOOL":true}',
    '{"B":"aGk="}',
]


def cut_by_python(rows, path):
    reader = DocumentReader(DOCUMENTS)
    flaws = [row and row["flaw"] for row in rows]
    cells = reader.parts(path, [row and row["wire"] for row in rows], flaws)
    return documents_array(cells).to_pylist(), reader.elements(rows)


def as_python_cuts_them(rows, path):
    """Compare both ways; return how many documents went the slow one."""
    column, before = pl.Series(pa.array(rows, DOCUMENT_TYPE)), CUTS.alone
    (part,) = cutting.parts(column, [path], DOCUMENTS)
    parts, elements = cut_by_python(rows, path)
    assert part.to_arrow(compat_level=pl.CompatLevel.oldest()).to_pylist() == parts
    assert cutting.elements(column, DOCUMENTS).to_list() == elements
    wires = column.struct.field("wire")
    assert cutting.scalar_texts(wires, DOCUMENTS).to_list() == DocumentReader(DOCUMENTS).scalar_texts(wires)
    return CUTS.alone - before


@settings(deadline=None)
@given(st.lists(INNER, min_size=1, max_size=5), st.lists(NAMES, min_size=1, max_size=3).map(tuple))
def test_documents_are_cut_as_python_cuts_them(values, path):
    texts = pa.array([*map(json.dumps, values), None])
    rows = documents_one_by_one(texts).to_pylist()
    odd = as_python_cuts_them(rows, path)
    if not any(row and (row["flaw"] or "\\" in row["wire"]) for row in rows):
        assert odd == 0, "what has no flaw, nor a name with an escape, needs no Python"


@given(
    st.lists(st.sampled_from(WIRES), min_size=1, max_size=6),
    st.lists(NAMES, min_size=1, max_size=2).map(tuple),
)
def test_sets_and_other_spellings_are_cut_as_python_cuts_them(wires, path):
    as_python_cuts_them([{"wire": w, "size": 9, "depth": 1, "flaw": None} for w in wires], path)


@pytest.mark.parametrize("seed", range(3))
def test_random_documents_are_cut_as_python_cuts_them(seed):
    random = Random(seed)
    texts = [f'{{"x":{{"a":[{json_texts.any_text(random)}]}},"l":1}}' for _ in range(300)]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    rows = documents_from_json(pa.array(texts)).to_pylist()
    flawed = sum(row["flaw"] is not None for row in rows)
    assert flawed < 150
    for path in (("x",), ("l",), ("l", "m"), ("y",)):
        assert as_python_cuts_them(rows, path) == 2 * flawed
    (parts,) = cutting.parts(pl.Series(pa.array(rows, DOCUMENT_TYPE)), [("x", "a")], DOCUMENTS)
    as_python_cuts_them(parts.to_list(), ("x",))


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
