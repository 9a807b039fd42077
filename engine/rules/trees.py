"""Polars expressions as trees, to look through and to alter, and back: the only place that knows the form.

Private door: Polars calls the serialised form of its expressions unstable, and there is no other way to see
what one will do. A newer version may name a node otherwise: what is unknown is refused where a tree is judged
(sql.py), and pyproject.toml admits only versions that were tried (`make test-versions`).
"""

import io
import json
import warnings
from typing import Any

import polars as pl


def tree_of(expr: pl.Expr) -> Any:
    """Return an expression as nested JSON values. Raises: polars.exceptions.PolarsError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that the form may change
        return json.loads(expr.meta.serialize(format="json"))


def expr_of(tree: Any) -> pl.Expr:
    """Return the expression of a tree. Raises: RecursionError when Polars doesn't read one so deep."""
    try:
        return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")
    except pl.exceptions.ComputeError as error:
        raise RecursionError("a tree that Polars has written, and doesn't read") from error
