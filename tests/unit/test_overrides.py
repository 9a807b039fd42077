"""`--set`: the key that is named changes, and no other."""

import copy
from decimal import Decimal

import pytest

from engine.errors import JobError
from engine.job.overrides import apply_override

DATA = {"name": "a", "target": {"table": "t", "create": None}, "items": [{"name": "Order"}, {"name": "0x"}]}


@pytest.mark.parametrize(
    ("text", "keys", "value", "made"),
    [
        ("name=b", ("name",), "b", ("name",)),
        ("target.table=u", ("target", "table"), "u", ("target", "table")),
        ("target.max_wcu=10.5", ("target", "max_wcu"), Decimal("10.5"), ("target", "max_wcu")),
        ("target.max_wcu=", ("target", "max_wcu"), None, ("target", "max_wcu")),
        ("target.create.pitr=true", ("target", "create", "pitr"), True, ("target", "create")),
        ("new.a.b=1", ("new", "a", "b"), 1, ("new",)),
        ("items[1].when=a = 'b=c'", ("items", 1, "when"), "a = 'b=c'", ("items", 1, "when")),
        ("items.1.when=x", ("items", 1, "when"), "x", ("items", 1, "when")),
        ("items.Order.when=x", ("items", 0, "when"), "x", ("items", 0, "when")),
        ('items.Order."a.b"=x', ("items", 0, "a.b"), "x", ("items", 0, "a.b")),
        ("items[0]={name: N}", ("items", 0), {"name": "N"}, ("items", 0)),
        ("a=USER#{id}", ("a",), "USER#{id}", ("a",)),
    ],
)
def test_the_named_key_changes(text, keys, value, made):
    data = copy.deepcopy(DATA)
    assert apply_override(data, text) == made
    at = data
    for key in keys[:-1]:
        at = at[key]
    assert at[keys[-1]] == value
    at[keys[-1]] = None
    assert data.keys() - DATA.keys() <= {keys[0]}


@pytest.mark.parametrize("text", ["", "a", "=x", "a..b=1", ".a=1", "a.=1", "a[x]=1", "a b=1", "a[0]b=1"])
def test_what_is_no_override_is_refused(text):
    with pytest.raises(JobError, match=r"^--set: it must be path=value"):
        apply_override(copy.deepcopy(DATA), text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name.x=1", "name is a single value"),
        ("items[2].when=x", "no entry '2' among 2 (Order, 0x)"),
        ("items.Ordr=x", "no entry 'Ordr'"),
        ("source.url=[hunter22", "--set source.url: the value can't be read: line 1"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_without_the_value(text, what):
    with pytest.raises(JobError) as caught:
        apply_override(copy.deepcopy(DATA), text)
    assert what in str(caught.value)
    assert "hunter22" not in str(caught.value)
