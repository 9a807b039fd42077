"""One item rule: compiled against the columns that there are, applied to the rows of a batch.

Invariant: an attribute whose value has a flaw is null, so flaws are computed only where a column holds nulls.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.contracts.transform import DELETE, FLAW, ROW, Attribute, RuleItems, RuleShape
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.items import Constant, Filled, ItemRule, Sql
from engine.job.template import Template, placeholders
from engine.kinds import Document, Kind, ListOf, Members, Scalar
from engine.rules.conversions import converted
from engine.rules.extracts import Extracts
from engine.rules.fields import Rest, is_inner, is_list
from engine.rules.names import column, frame_name, source_name
from engine.rules.paths import EACH, INDEX, Bindings, elements_at, nearest, placed, templated
from engine.rules.rows import FAULT, ROW_NUMBER, Rows
from engine.rules.sql import CompiledSql, compiled, condition
from engine.rules.values import ValueExpr, literal, representation

_DELETE, _COMPUTED = "\0delete", "\0sql:"
_CONSTANTS = {"S": Scalar.STRING, "N": Scalar.NUMBER, "BOOL": Scalar.BOOL}


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled item rule.

    Shape: `columns` are the source columns that its attributes need, `sql_columns` those that its SQL needs.
    `computed` maps a frame's column to the SQL whose result it holds. `flaws` pairs an attribute's column
    with the expression of its flaw. `extracts` and `each_extracts` are columns to add, of what paths find in
    a row's documents and in an element's.
    """

    number: int
    shape: RuleShape
    values: tuple[pl.Expr, ...]
    flaws: tuple[tuple[str, pl.Expr], ...]
    when: CompiledSql | None
    delete_when: CompiledSql | None
    computed: tuple[tuple[str, CompiledSql], ...]
    each: ValueExpr | None
    extracts: tuple[pl.Expr, ...]
    each_extracts: tuple[pl.Expr, ...]
    columns: frozenset[str]
    sql_columns: frozenset[str]

    def items(self, rows: Rows) -> RuleItems:
        """Make the items of a batch's rows."""
        if self.when is not None:
            chosen, rows = rows.evaluated(self.when, "when")
            keep = chosen.fill_null(value=False)
            rows = rows.kept(keep if rows.faults is None else keep | rows.faults.is_not_null())
        results: list[pl.Series] = []
        for name, sql in self.computed:
            result, rows = rows.evaluated(sql, name.removeprefix(_COMPUTED))
            results.append(result.alias(name))
        if self.delete_when is not None:
            gone, rows = rows.evaluated(self.delete_when, "delete_when")
            results.append(gone.fill_null(value=False).alias(_DELETE))
        frame = rows.frame.with_columns(results) if results else rows.frame
        if self.extracts:
            frame = frame.with_columns(self.extracts)
        if self.each is not None:
            frame = self._exploded(frame, self.each)
        return RuleItems(self.number, self.shape.name, self.shape.attributes, self._selected(frame))

    def _exploded(self, frame: pl.DataFrame, each: ValueExpr) -> pl.DataFrame:
        """Give a row to every element; a row whose list is a flaw gets one, with the fault."""
        frame = frame.with_columns(each.expr.alias(EACH))
        if each.flaw is not None and frame.get_column(EACH).null_count():
            before = [pl.col(FAULT)] if FAULT in frame.columns else []
            frame = frame.with_columns(pl.coalesce(*before, each.flaw).alias(FAULT))
        if FAULT in frame.columns:
            assert isinstance(each.kind, ListOf), "for_each goes through lists"
            nothing = pl.lit(pl.Series([[None]], dtype=representation(each.kind))).first()
            faulty = pl.col(FAULT).is_not_null()
            frame = frame.with_columns(pl.when(faulty).then(nothing).otherwise(pl.col(EACH)).alias(EACH))
        added = [name for name in frame.columns if name.startswith("\0") and not is_inner(name)]
        frame = frame.select(*added, *(frame_name(name) for name in self.columns if not is_list(name)))
        length = pl.col(EACH).list.len()
        numbered = frame.lazy().filter(length > 0).with_columns(pl.int_ranges(0, length).alias(INDEX))
        return numbered.explode(EACH, INDEX).with_columns(self.each_extracts).collect()

    def _selected(self, frame: pl.DataFrame) -> pl.DataFrame:
        deleted = pl.col(_DELETE) if self.delete_when is not None else pl.lit(value=False)
        fault = pl.col(FAULT) if FAULT in frame.columns else pl.lit(None, dtype=pl.String)
        items = frame.select(
            *self.values, pl.col(ROW_NUMBER).alias(ROW), deleted.alias(DELETE), fault.alias(FLAW)
        )
        flaws = [flaw for name, flaw in self.flaws if items.get_column(name).null_count()]
        if not flaws:
            return items
        return items.with_columns(frame.select(pl.coalesce(fault, *flaws).alias(FLAW)))


def compiled_rule(
    number: int,
    rule: ItemRule,
    kinds: Mapping[str, Kind],
    types: Mapping[str, pl.DataType],
    codec: DocumentCodec,
    rest: Rest | None = None,
) -> Rule:
    """Compile a rule for rows whose columns have these kinds, and these types in SQL.

    `codec` wrote their documents; `rest` is what `include: all` means where the source has no schema.
    Raises: JobError naming the rule and what is at fault in it.
    """
    at = f"items[{number}]"
    extracts = Extracts(codec)
    bindings, each = Bindings(kinds, codec, extracts), None
    path = rule.for_each_path()
    if path is not None:
        with _naming(f"{at}.for_each"):
            each = elements_at(path, bindings)
            assert isinstance(each.kind, ListOf), "for_each goes through lists"
            bindings = Bindings(kinds, codec, extracts, each.kind.element)
    with _naming(f"{at}.when"):
        when = None if rule.when is None else condition(rule.when, types)
    with _naming(f"{at}.delete_when"):
        delete_when = None if rule.delete_when is None else condition(rule.delete_when, types)
    named: dict[str, ValueExpr] = {}
    for name, template in rule.key_templates():
        with _naming(f"{at}.key.{name}"):
            named[name] = _key(name, template, bindings)
    for name in _included(rule, kinds, at) if rest is None else rest.apart:
        named.setdefault(name, ValueExpr(column(name), kinds[name]))
    computed: dict[str, CompiledSql] = {}
    for name, attribute in rule.attribute_rules():
        with _naming(f"{at}.attributes.{name}"):
            named[name] = _attribute(name, attribute, bindings, types, computed)
    if rest is not None:
        named[rest.column] = ValueExpr(pl.col(rest.column), Members())
    of_row, of_each = extracts.columns(EACH, otherwise=True), extracts.columns(EACH)
    wanted = [value.expr for value in named.values()] + ([] if each is None else [each.expr])
    roots = {source_name(root) for expr in (*wanted, *of_row) for root in expr.meta.root_names()}
    conditions = [sql for sql in (when, delete_when, *computed.values()) if sql is not None]
    return Rule(
        number=number,
        shape=RuleShape(rule.name, tuple(Attribute(name, value.kind) for name, value in named.items())),
        values=tuple(value.expr.alias(str(index)) for index, value in enumerate(named.values())),
        flaws=tuple(
            (str(index), value.flaw) for index, value in enumerate(named.values()) if value.flaw is not None
        ),
        when=when,
        delete_when=delete_when,
        computed=tuple(computed.items()),
        each=each,
        extracts=of_row,
        each_extracts=of_each,
        columns=frozenset(roots & kinds.keys()),
        sql_columns=frozenset().union(*(sql.columns for sql in conditions)),
    )


def _key(name: str, template: Template, bindings: Bindings) -> ValueExpr:
    """Return a key attribute: a null in it is a flaw that names the column."""
    value = templated(template, bindings)
    expr = value.expr
    null = bindings.codec.notation.null
    if isinstance(value.kind, Document):
        expr = pl.when(expr.struct.field("wire") != null).then(expr)
    flaws = [] if value.flaw is None else [value.flaw]
    for placeholder in placeholders(template):
        part, source = placed(placeholder, bindings), ".".join(placeholder.path)
        missing = part.expr.is_null()
        if isinstance(part.kind, Document):
            missing |= part.expr.struct.field("wire") == null
        flaws.append(pl.when(missing).then(pl.lit(f"key_null: {name} needs {source}, which is null")))
    return ValueExpr(expr, value.kind, pl.coalesce(flaws) if flaws else None)


def _included(rule: ItemRule, kinds: Mapping[str, Kind], at: str) -> list[str]:
    for key, names in (("include", rule.include), ("exclude", rule.exclude)):
        for name in () if isinstance(names, str) else names:
            if name not in kinds:
                raise JobError(f"{at}.{key}: there is no column {name!r}{nearest(name, kinds)}")
    match rule.include:
        case "none":
            return []
        case "all":
            return [name for name in kinds if name not in rule.exclude]
        case columns:
            return [name for name in columns if name not in rule.exclude]


def _attribute(
    name: str,
    attribute: Constant | Filled | Sql,
    bindings: Bindings,
    types: Mapping[str, pl.DataType],
    computed: dict[str, CompiledSql],
) -> ValueExpr:
    match attribute:
        case Constant(text, letter):
            return literal(text, _CONSTANTS[letter])
        case Filled(template, wanted):
            value = templated(template, bindings)
        case Sql():
            sql, wanted = compiled(attribute.sql, types, name), attribute.as_
            computed[_COMPUTED + name] = sql
            value = ValueExpr(pl.col(_COMPUTED + name), sql.kind)
    return value if wanted is None else converted(value, wanted, f"{name}'s value", bindings.codec)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Put the place in the job file before the sentence of an error."""
    try:
        yield
    except JobError as error:
        raise JobError(f"{place}: {error}") from error
