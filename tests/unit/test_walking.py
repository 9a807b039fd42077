"""The walk in C beside the one in Python: which is in use, what it leaves, that it can't be led astray."""

import logging
from dataclasses import replace
from random import Random

import numpy as np
import pyarrow as pa
import pytest

import hatch_build
from connectors.dynamodb.documents.json_walk import documents_from_json, documents_one_by_one
from connectors.dynamodb.documents.notation import LEVELS_MAX, NOTATION
from engine.contracts.documents import Affix
from engine.documents import walking
from engine.documents.plain import NOTATION as PLAIN
from engine.documents.walking import SHARE, Share
from engine.kinds import DOCUMENT_TYPE

in_c = pytest.mark.skipif(walking._WALK is None, reason=f"documents are walked {walking.WAY}")


def walked(texts, notation=NOTATION, levels_max=LEVELS_MAX):
    """What becomes of the texts, and which of them went through Python."""
    alone = []

    def one_by_one(odd):
        alone.extend(odd.to_pylist())
        return documents_one_by_one(odd)

    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    found = walking.documents(array, notation, levels_max, one_by_one)
    assert found.type == DOCUMENT_TYPE
    found.validate(full=True)
    return found.to_pylist(), alone


def test_the_extension_is_there_and_of_these_sources_wherever_it_can_be_built(monkeypatch, tmp_path):
    fault = hatch_build.compiled(tmp_path / "_walk.so")
    if fault is not None:
        pytest.skip(fault)
    monkeypatch.delenv(walking.PURE, raising=False)
    extension, way = walking._extension()
    assert extension is not None, f"documents are walked {way}; run `python hatch_build.py`, or `make setup`"
    assert hatch_build.digest() == extension.SOURCES, "the sources are newer; run `python hatch_build.py`"


def test_python_can_be_asked_for(monkeypatch):
    monkeypatch.setenv(walking.PURE, "1")
    assert walking._extension() == (None, f"in Python, because {walking.PURE} is set")


@in_c
def test_an_extension_of_another_version_is_not_used(monkeypatch):
    monkeypatch.delenv(walking.PURE, raising=False)
    monkeypatch.setattr(walking, "FORM", -1)
    assert walking._extension()[0] is None


def test_what_cant_be_built_is_said_and_leaves_nothing_old(monkeypatch, tmp_path, capsys):
    (tmp_path / hatch_build.SOURCES).mkdir(parents=True)
    (tmp_path / hatch_build.SOURCES / "walk.c").write_text("#error no\n")
    (tmp_path / hatch_build.EXTENSION).write_bytes(b"old")
    assert not hatch_build.in_place(tmp_path)
    assert not (tmp_path / hatch_build.EXTENSION).exists()
    monkeypatch.setattr(hatch_build, "compiler", lambda: None)
    assert hatch_build.compiled(tmp_path / "x.so") == "there is no C compiler"
    assert "installed without its extension in C" in capsys.readouterr().err


@in_c
def test_only_what_is_odd_goes_through_python_and_comes_back_in_its_place():
    texts = ['{"a":1}', '{"a":1,"a":2}', None, "[1.5e3]", "1e400", '"x"', "{"]
    before = SHARE.walked, SHARE.alone
    found, alone = walked(texts)
    assert alone == ['{"a":1,"a":2}', "1e400", "{"]
    assert found == documents_one_by_one(pa.array(texts, pa.string())).to_pylist()
    assert (SHARE.walked - before[0], SHARE.alone - before[1]) == (7, 3)


def test_the_share_is_told_and_so_is_the_way(caplog):
    share = Share("walked")
    with caplog.at_level(logging.DEBUG, "engine"):
        share.count(0, 0)
        share.count(0, 0)
        share.count(10_000, 12)
        share.count(1, 0)
        share.tell()
        Share("cut").tell()
    assert caplog.messages == [
        f"documents are walked {walking.WAY}",
        "10,001 documents were walked, 12 of them one by one in Python",
    ]


def test_a_codec_that_spells_its_numbers_itself_is_asked():
    assert walking.handed(PLAIN, LEVELS_MAX) is None
    assert walked(["1", None], PLAIN)[1] == ["1", None]


@in_c
def test_parts_of_a_column_and_wide_offsets():
    texts = pa.array(["[1]", None, '{"b":"é"}', '"x"', "{", "2", None], pa.string())
    for first in range(len(texts) + 1):
        for length in range(len(texts) + 1 - first):
            part = texts.slice(first, length)
            assert walked(part)[0] == documents_one_by_one(part).to_pylist()
    assert walked(texts.cast(pa.large_string()))[0] == walked(texts)[0]


@in_c
def test_words_sizes_and_limits_are_the_notations_own():
    other = replace(
        NOTATION,
        string=Affix("<s ", ">"),
        number=Affix("<n ", ">"),
        bool=Affix("", "!"),
        list=Affix("<l ", ">"),
        map=Affix("<m ", ">"),
        null="nil",
        nameless=None,
        null_size=100,
        bool_size=1_000,
        container_size=10_000,
        element_size=100_000,
        decimals=replace(
            NOTATION.decimals, digits_max=3, plain_length_max=5, magnitude_min=-6, magnitude_max=7
        ),
    )
    assert walked(['{"":[null,true,"x"]}'], other) == (
        [{"wire": '<m "":<l nil,true!,<s "x">>>', "size": 421_101, "depth": 2, "flaw": None}],
        [],
    )
    spelled = ["123", "12300", "0.012", "0.0012", "1230000", "0.000123", "1.23e7", "-1e-6"]
    wires = [row["wire"][3:-1] for row in walked(spelled, other)[0]]
    assert wires == ["123", "12300", "0.012", "1.2E-3", "1.23E+6", "1.23E-4", "1.23E+7", "-1E-6"]
    assert walked(["1234", "1e8", "1e-7", "[1]", "[[1]]"], other, levels_max=1)[1] == [
        "1234",
        "1e8",
        "1e-7",
        "[[1]]",
    ]


@in_c
def test_many_names_of_one_object_are_told_apart():
    names = [f"n{n}" for n in range(5_000)]
    Random(1).shuffle(names)
    members = [f'"{name}":{n}' for n, name in enumerate(names)]
    fine, twice = "{" + ",".join(members) + "}", "{" + ",".join([*members, '"\\u006e4999":1']) + "}"
    inner = '{"b":' + fine + ',"a":{"b":1},"c":2,"b":3}'
    found, alone = walked([fine, twice, inner])
    assert alone == [twice, inner]
    assert found == documents_one_by_one(pa.array([fine, twice, inner])).to_pylist()


@in_c
def test_bytes_that_are_no_text_are_refused_as_python_refuses_them():
    bad = [
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xe2\x82"',
        b'"\xf0\x80\x80\x80"',
    ]
    for octets in bad:
        array = pa.StringArray.from_buffers(
            1, pa.py_buffer(np.array([0, len(octets)], np.int32)), pa.py_buffer(octets)
        )
        with pytest.raises(UnicodeDecodeError):
            documents_one_by_one(array).to_pylist()
        with pytest.raises(UnicodeDecodeError):
            documents_from_json(array).to_pylist()


def offsets(*found):
    return np.array(found, np.int32).tobytes()


@in_c
@pytest.mark.parametrize(
    ("data", "where", "validity", "first", "rows"),
    [
        (b"[1]", offsets(0, 4), None, 0, 1),
        (b"[1]", offsets(-1, 2), None, 0, 1),
        (b"[1]", offsets(2, 1), None, 0, 1),
        (b"[1]", offsets(2**31 - 1, 2**31 - 1), None, 0, 1),
        (b"[1]", offsets(0), None, 0, 1),
        (b"[1]", b"", None, 0, 0),
        (b"[1]", offsets(0, 3), None, 1, 1),
        (b"[1]", offsets(0, 3), None, -1, 1),
        (b"[1]", offsets(0, 3), None, 0, -1),
        (b"[1]", offsets(0, 3), None, 0, 2**62),
        (b"[1]", offsets(0, 3), None, 2**62, 1),
        (b"[1]", offsets(0, 3), b"", 0, 1),
    ],
)
def test_buffers_that_dont_fit_are_an_error_and_no_crash(data, where, validity, first, rows):
    with pytest.raises(ValueError, match=r"offset|buffers"):
        walking._WALK.documents(data, where, validity, first, rows, walking.handed(NOTATION, LEVELS_MAX))


@in_c
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, ()),
        (0, (b"x" * 17,) * 13),
        (0, ("x",) * 13),
        (0, 1),
        (5, 65),
        (5, 0),
        (6, 1),
        (7, -1),
        (8, 37),
        (8, 65),
        (10, 257),
    ],
)
def test_a_notation_beyond_what_is_held_ready_is_refused(place, value):
    words = list(walking.handed(NOTATION, LEVELS_MAX))
    words[place] = value
    with pytest.raises((ValueError, TypeError)):
        walking._WALK.documents(b"1", offsets(0, 1), None, 0, 1, tuple(words))
    with pytest.raises(TypeError):
        walking._WALK.documents(b"1", offsets(0, 1), None, 0, 1, tuple(words[:-1]))


@in_c
def test_cuts_are_no_less_careful():
    words = walking.handed(NOTATION)
    for call, more in ((walking._WALK.part, [(b'"a"',)]), (walking._WALK.elements, [])):
        with pytest.raises(ValueError, match=r"offset|buffers"):
            call(b"[1]", offsets(0, 4), None, 0, 1, words, *more)
        with pytest.raises(ValueError, match=r"offset|buffers"):
            call(b"[1]", offsets(0), None, 0, 1, words, *more)
        with pytest.raises(TypeError):
            call(b"[1]", offsets(0, 3), None, 0, 1, words[:-1], *more)
    with pytest.raises(ValueError, match=r"offset|buffers"):
        walking._WALK.texts(b"[1]", offsets(0, 4), None, 0, 1, words)
    for wire, code in (
        (b"", 1),
        (b'{"S":', 1),
        (b'{"S":"}', 1),
        (b'{"N":"', 1),
        (b'{"L":[', 2),
        (b'{"S":"\\""}', 1),
    ):
        assert walking._WALK.texts(wire, offsets(0, len(wire)), None, 0, 1, words)[4] == bytes([code])
    for names in ("a", ("a",), None):
        with pytest.raises(TypeError):
            walking._WALK.part(b"[1]", offsets(0, 3), None, 0, 1, words, names)
    for wire in (
        b'{"N":"',
        b'{"S":',
        b'{"S":"',
        b'{"B":"',
        b'{"BOOL":',
        b'{"L":[',
        b'{"M":{"a"',
        b'{"M":{"a":',
    ):
        assert walking._WALK.part(wire, offsets(0, len(wire)), None, 0, 1, words, ())[4] == b"\x01"
        assert walking._WALK.elements(wire, offsets(0, len(wire)), None, 0, 1, words)[5] in (b"\x01", b"\x02")


LAYOUT = (2, 3, -1, ((b"", -1, -1, -1, 0, True), (b"a", 0, 0, -1, 0, False)), (), (1,))


def bson_walked(data, starts, layout=LAYOUT):
    places = np.array(starts, np.int64).tobytes()
    return walking._WALK.columns(data, places, walking.handed(NOTATION), layout)


@in_c
def test_bson_is_no_less_careful():
    document = b"\x0c\0\0\0\x10a\0\x07\0\0\0\0"
    codes, first, rest, _ = bson_walked(document, [0])
    assert (codes, first[0], rest[0]) == (b"\0", b'{"N":"7"}', b',"a":{"N":"7"}')
    assert bson_walked(document[:-1], [0])[0] == b"\x01"
    assert bson_walked(document, [12, 8])[0] == b"\x01\x01"
    for starts in ([13], [-1], [2**62]):
        with pytest.raises(ValueError, match="outside"):
            bson_walked(document, starts)


@in_c
@pytest.mark.parametrize(
    "layout",
    [
        (),
        (2, 1, -1, LAYOUT[3], (), ()),
        (2, 2**40, -1, LAYOUT[3], (), ()),
        (2, 3, -1, (), (), ()),
        (2, 3, -1, [], (), ()),
        (2, 3, -1, ((b"", -1, 3, -1, 0, True),), (), ()),
        (2, 3, -1, ((b"", 0, -1, -1, 0, True),), (), ()),
        (2, 3, -1, ((b"", -1, -1, 0, 0, True),), (), ()),
        (2, 3, -1, LAYOUT[3], ((2, 1, 2, 1),), ()),
        (2, 3, -1, LAYOUT[3], ((1, 2, 2, 1),), ()),
        (2, 3, -1, LAYOUT[3], ((1, 0, 2, 1),), ()),
        (2, 3, -1, LAYOUT[3], ((1, 1, 1, 1),), ()),
        (2, 3, -1, LAYOUT[3], ((1, 1, 2, 2),), ()),
        (2, 3, -1, LAYOUT[3], (), (2,)),
        (2, 3, -1, LAYOUT[3], (), ("x",)),
        (2, 3, -1, LAYOUT[3], (), (1,) * 65),
    ],
)
def test_a_layout_that_leads_nowhere_is_refused(layout):
    with pytest.raises((ValueError, TypeError)):
        bson_walked(b"", [], layout)
