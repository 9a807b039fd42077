"""Random JSON from a seed, valid and not: in jsonb's own form, and in any form that somebody writes."""

import json
from random import Random
from typing import Any

SIGNS = [
    *"abcXYZ 09_-:,{}[]'/",
    *('"', "\\", "\n", "\t", "\b", "\f", "\r", "\x01", "\x0b", "\x1f", "\x7f"),
    *("é", "ß", "日", "😀", "\u2028", "\ud7ff", "\ue000", "\uffff"),
]
BAD_ESCAPES = ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800", "\\x", "\\u12", "\\", "\x01"]


class NumberLiteral(str):
    """A number as it is to stand in the text."""

    __slots__ = ()


def jsonb(value: Any) -> str:
    """As PostgreSQL prints jsonb: names by length, then bytes; `, ` and `: `."""
    match value:
        case NumberLiteral():
            return str(value)
        case dict():
            names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
            return "{" + ", ".join(f"{_plain(name)}: {jsonb(value[name])}" for name in names) + "}"
        case list():
            return "[" + ", ".join(map(jsonb, value)) + "]"
        case str():
            return _plain(value)
    return json.dumps(value)


def sound(random: Random) -> str:
    """A document in jsonb's form, of which only numbers and depth may be beyond a target."""
    return (
        deep(random) if random.random() < 0.05 else jsonb(value_of(random, random.randrange(6), powers=False))
    )


def any_text(random: Random) -> str:
    """A document as anybody may write it, one in five of them spoiled."""
    if random.random() < 0.05:
        return deep(random)
    text = _loose(value_of(random, random.randrange(6), powers=True), random)
    return spoiled(text, random) if random.random() < 0.2 else text


def deep(random: Random) -> str:
    levels = random.choice([1, 5, 30, 62, 63, 64, 65, 66, 100, 2000])
    inner = random.choice(["1", "[]", "{}", '"x"', "[1, {}]"])
    lists = [random.random() < 0.5 for _ in range(levels)]
    opened = "".join("[" if is_list else '{"a": ' for is_list in lists)
    return opened + inner + "".join("]" if is_list else "}" for is_list in reversed(lists))


def spoiled(text: str, random: Random) -> str:
    at = random.randrange(len(text))
    return random.choice(
        [
            text[:at],
            text[:at] + text[at + 1 :],
            text[:at] + random.choice('{}[]:,"\\0 eE.-+ntfNI') + text[at:],
            text + random.choice([",", "1", "]", " x", "{}"]),
            text.replace("1", "01"),
            text.replace("null", "NaN"),
            text.replace("true", "True"),
            text[:at] + text[at : at + 3] + text[at:],
        ]
    )


def value_of(random: Random, depth: int, *, powers: bool) -> Any:
    kind = random.random()
    if depth <= 0 or kind < 0.6:
        return random.choice([_text, _text, number, number, _rare])(random, powers)
    if kind < 0.8:
        return [value_of(random, depth - 1, powers=powers) for _ in range(random.randrange(6))]
    members = random.choice([0, 1, 2, 3, 5, 6, 20])
    return {
        "" if random.random() < 0.005 else _text(random, powers, 3) or "k": value_of(
            random, depth - 1 - (members > 6) * 5, powers=powers
        )
        for _ in range(members)
    }


def number(random: Random, powers: bool) -> NumberLiteral:
    def digits(count: int) -> str:
        return "".join(random.choice("0123456789") for _ in range(count))

    first = str(random.randrange(1, 10))
    text = random.choice(
        [
            str(random.randrange(100)),
            str(random.randrange(10**6)) + "0" * random.randrange(5),
            "0." + digits(random.randrange(1, 8)),
            str(random.randrange(1000)) + "." + digits(random.randrange(1, 22)),
            first + digits(random.randrange(10, 45)),
            first + digits(random.randrange(30)) + "." + digits(random.randrange(1, 30)),
            "0",
            first + "0" * random.randrange(400),
            "0." + "0" * random.randrange(1, 50),
            "0." + "0" * random.randrange(1, 140) + digits(3),
        ]
    )
    if random.random() < 0.3:
        text = "-" + text
    if powers and random.random() < 0.3:
        power = random.randrange(random.choice([5, 40, 200, 10**12]))
        text += random.choice("eE") + random.choice(["", "+", "-", "+0", "-00"]) + str(power)
    return NumberLiteral(text)


def _text(random: Random, _: bool, length: int = 12) -> str:
    count = random.choice([0, 1, 2, 3, 7, 8, 9, 16, random.randrange(length * 4)])
    return "".join(random.choice(SIGNS) for _ in range(count))


def _rare(random: Random, _: bool) -> Any:
    return random.choice([None, True, False, [], {}])


def _plain(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _blanks(random: Random) -> str:
    return "".join(random.choice(" \n\t\r") for _ in range(random.choice([0, 0, 0, 1, 3])))


def _loose(value: Any, random: Random) -> str:
    def spaced(*parts: str) -> str:
        return "".join(part + _blanks(random) for part in ("", *parts))

    match value:
        case NumberLiteral():
            return str(value)
        case dict():
            members = [
                spaced(_escaped(name, random), ":", _loose(each, random)) for name, each in value.items()
            ]
            if members and random.random() < 0.03:
                members.append(random.choice(members))
            random.shuffle(members)
            return spaced("{", ",".join(members), "}")
        case list():
            return spaced("[", ",".join(spaced(_loose(each, random)) for each in value), "]")
        case str():
            return _escaped(value, random)
    return json.dumps(value)


def _escaped(text: str, random: Random) -> str:
    form = random.random()
    if form < 0.4:
        return json.dumps(text)
    if form < 0.8:
        return _plain(text)
    out = "".join(random.choice([_plain(sign)[1:-1], _units(sign, random)]) for sign in text)
    if random.random() < 0.03:
        out += random.choice(BAD_ESCAPES)
    return f'"{out}"'


def _units(sign: str, random: Random) -> str:
    """A character as escapes of its UTF-16 units, with small and large letters."""
    octets = sign.encode("utf-16-be")
    units = [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]
    return "".join(f"\\u{unit:04{random.choice('xX')}}" for unit in units)
