"""What an expression may hold before Polars sees its text: no query, and no more than can be taken apart.

Invariant: what passes has no place at which a query could begin. Polars runs a query inside an expression
while it parses it, with the files and addresses that it names; so its own tree comes too late. Quotes,
comments and words are read as Polars reads them, and what isn't known to be read alike is refused. Pure.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from engine.errors import JobError

TEXT_CHARS_MAX = 200_000
OPERATORS_MAX = 1_000
"""Each may make the expression deeper, and Polars recurses: 6,000 ended in a segmentation fault."""
SHOWN_CHARS_MAX = 100

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*)
    | (?P<opening>/\*)
    | (?P<bytes>[xX]'[0-9a-fA-F]*')
    | (?P<prefixed>[A-Za-z0-9_@$]+['"`] | [uU]&['"])
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*" | `[^`]*`)
    | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<word>(?:[A-Za-z_@] | [^\x00-\x7f\s])(?:[A-Za-z0-9_@$] | [^\x00-\x7f\s])*)
    | (?P<open>[(\[{])
    | (?P<close>[)\]},;?])
    | (?P<operator>[=<>!|&^~:]{1,3}|[-+*/%.#])
    """,
    re.VERBOSE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_DEEPENS = frozenset({"AND", "OR", "NOT", "XOR", "WHEN", "IS", "LIKE", "ILIKE", "BETWEEN", "COLLATE", "AT"})
_BEGINS = frozenset({"VALUES", "TABLE", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"})
"""Words with which a query may begin behind a parenthesis, beside SELECT and FROM; alone each is a column's
name. Source: apache/datafusion-sqlparser-rs, Parser::parse_query."""
_GOES_ON = frozenset({"word", "name", "text", "number", "open"})


class Token(NamedTuple):
    """A piece of an expression. `kind`: its group in _TOKEN."""

    kind: str
    text: str


_BEFORE, _BEHIND = Token("open", ""), Token("close", "")


def checked(text: str) -> str:
    """Return an expression as Polars may see it: without its comments. Raises: JobError."""
    if len(text) > TEXT_CHARS_MAX:
        raise _refused(text, f"has {len(text):,} characters; it may have {TEXT_CHARS_MAX:,}")
    spaced = list(_tokens(text))
    tokens = [token for token in spaced if token.kind != "space"]
    for before, token, behind in zip([_BEFORE, *tokens], tokens, [*tokens[1:], _BEHIND], strict=False):
        if token.kind == "word" and _begins_query(before, token.text.upper(), behind):
            raise _refused(
                text,
                f"holds a query ({token.text}); rules look at one row: join in the source's query",
            )
    deep = sum(token.kind == "operator" or token.text.upper() in _DEEPENS for token in tokens)
    if deep > OPERATORS_MAX:
        raise _refused(text, f"has {deep:,} operators; it may have {OPERATORS_MAX:,}")
    return "".join(" " if token.kind == "space" else token.text for token in spaced).strip()


def brief(text: str) -> str:
    """Return an expression as a sentence quotes it."""
    return repr(text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 1]}…")


def _begins_query(before: Token, word: str, behind: Token) -> bool:
    if before.text == ".":
        return False  # a field of that name
    if word == "SELECT":
        return True
    return before.kind == "open" and (word == "FROM" or (word in _BEGINS and behind.kind in _GOES_ON))


def _tokens(text: str) -> Iterator[Token]:
    """Yield the pieces of a text, a comment as the space that it stands for. Raises: JobError."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None or (kind == "word" and not all(map(_of_words, match[0]))):
            raise _refused(
                text, f"has something at character {at + 1} that isn't known; quote names and texts"
            )
        if kind == "prefixed":
            raise _refused(text, f"has {match[0]!r}; write a text as 'text' and a name as \"name\"")
        at = match.end()
        if kind == "opening":
            at, kind = _behind_comment(text, at), "comment"
        yield Token("space", " ") if kind == "comment" else Token(kind, match[0])


def _behind_comment(text: str, at: int) -> int:
    """Return where a comment ends that has begun; comments nest. Raises: JobError."""
    depth = 1
    while depth:
        mark = _COMMENT_MARK.search(text, at)
        if mark is None:
            raise _refused(text, "has a comment that doesn't end")
        depth += 1 if mark[0] == "/*" else -1
        at = mark.end()
    return at


def _of_words(character: str) -> bool:
    """Say whether a character can stand in a name without quotes."""
    return character.isascii() or unicodedata.category(character)[0] in "LMN"


def _refused(text: str, why: str) -> JobError:
    return JobError(f"{brief(text)} {why}")
