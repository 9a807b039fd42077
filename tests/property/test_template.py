"""Templates: what can be written down is read back, and what is written by chance never crashes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engine.errors import JobError
from engine.job.template import Placeholder, Template, parse

NAMES = st.text(min_size=1, max_size=8)
FORMATS = st.none() | st.sampled_from(["%Y-%m-%d", "%H:%M:%S", "03d", "012d", "%Y week %V", "%%"])
PLACEHOLDERS = st.builds(
    Placeholder, st.lists(NAMES, min_size=1, max_size=3).map(tuple), FORMATS
) | st.builds(Placeholder, st.sampled_from([("each", "x"), ("index",)]), FORMATS, st.booleans())
LITERALS = st.text(min_size=1, max_size=8) | st.text('{}:."%#', min_size=1, max_size=6)


def merged(parts: list[str | Placeholder]) -> Template:
    """Join literals that stand side by side."""
    template: list[str | Placeholder] = []
    for part in parts:
        if template and isinstance(part, str) and isinstance(template[-1], str):
            template[-1] += part
        else:
            template.append(part)
    return tuple(template)


def written(template: Template) -> str:
    """Write a template as a user would, quoting names only where they need it."""
    text = ""
    for part in template:
        if isinstance(part, str):
            text += part.replace("{", "{{").replace("}", "}}")
        else:
            names = [
                '"' + name.replace('"', '""') + '"'
                if set(name) & set('{}:."') or name != name.strip() or (part.column and at == 0)
                else name
                for at, name in enumerate(part.path)
            ]
            text += "{" + ".".join(names) + ("" if part.format is None else f":{part.format}") + "}"
    return text


@given(st.lists(LITERALS | PLACEHOLDERS, max_size=6).map(merged))
def test_what_is_written_is_read_back(template):
    assert parse(written(template)) == template


@given(st.text('{}:."%Yd0 ab#', max_size=20))
def test_any_text_is_a_template_or_refused_with_a_place_inside_it(text):
    try:
        template = parse(text)
    except JobError as error:
        place = int(str(error).split(":")[0].removeprefix("at character "))
        assert 1 <= place <= len(text) + 1
    else:
        assert parse(written(template)) == template
        assert "" not in template
        for left, right in itertools.pairwise(template):
            assert not (isinstance(left, str) and isinstance(right, str))
