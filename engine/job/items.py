"""The `items` section: how a source row becomes items, as a user writes it and as the transform reads it.

Invariant: every template of a rule that exists has parsed, and no key of it contradicts another.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, StrictBool, Tag, WithJsonSchema, model_validator

from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.section import Misfit, Names, Section, TemplateText, Text
from engine.job.template import Placeholder, Template, parse, placeholders, single

AttributeType: TypeAlias = Literal[
    "S", "N", "B", "BOOL", "L", "M", "SS", "NS", "BS", "epoch_s", "epoch_ms", "epoch_us", "json"
]


class Value(Section):
    """An attribute from a template, with the type it is to have."""

    value: TemplateText
    """A template, as an attribute without `as` has it."""
    as_: AttributeType | None = Field(default=None, alias="as")
    """The type that the attribute is to have; without it, the value's own."""


class Sql(Section):
    """An attribute from a Polars SQL expression over the source columns."""

    sql: Text
    """A Polars SQL expression over the columns of one row, such as `lower(email)`."""
    as_: AttributeType | None = Field(default=None, alias="as")
    """The type that the attribute is to have; without it, the result's own."""


def _shape(value: Any) -> str:
    if isinstance(value, (Sql, Value)):
        return "sql" if isinstance(value, Sql) else "value"
    if isinstance(value, Mapping):
        return "sql" if "sql" in value else "value"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float, Decimal)) else "text"


def _exact(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


AttributeValue: TypeAlias = Annotated[
    Annotated[TemplateText, Tag("text")]
    | Annotated[StrictBool, Tag("bool")]
    | Annotated[Decimal, BeforeValidator(_exact), WithJsonSchema({"type": "number"}), Tag("number")]
    | Annotated[Value, Tag("value")]
    | Annotated[Sql, Tag("sql")],
    Discriminator(_shape),
]
"""A template or literal text, a literal number or boolean, or a mapping with `value` or `sql`."""


@dataclass(frozen=True, slots=True)
class Constant:
    """An attribute that is the same in every item: its canonical text and its type."""

    text: str
    type: Literal["S", "N", "BOOL"]


@dataclass(frozen=True, slots=True)
class Filled:
    """An attribute from a template; without `as_`, a lone placeholder keeps the type of its value."""

    template: Template
    as_: AttributeType | None


class ItemRule(Section):
    """How every source row becomes an item, or several with `for_each`."""

    name: Text
    """The rule's name in reports and dead letters."""
    when: Text | None = None
    """Polars SQL over the source columns: rows for which it isn't true give no item."""
    for_each: Text | None = None
    """A list column, or the path to a list in a document: one item per element, `{each}` and `{index}`."""
    key: Annotated[dict[Text, TemplateText], Field(min_length=1)]
    """The templates of the key attributes: the partition key, and the sort key if the table has one."""
    include: Literal["all", "none"] | Names = "none"
    """Columns that become attributes of the same name."""
    exclude: Names = ()
    """Columns that `include` leaves out."""
    attributes: dict[Text, AttributeValue] = Field(default_factory=dict)
    """Attributes by name; one of these goes before an included column of the same name."""
    delete_when: Text | None = None
    """Polars SQL over the source columns: rows for which it is true delete their item."""
    unique: StrictBool = False
    """The user's word that a key of this rule is one row's alone; checked as items go by."""

    def decides(self) -> dict[str, Any]:
        """Return what of this rule decides over what is written, for the fingerprint."""
        return self.model_dump(exclude={"unique"}, exclude_defaults=True)

    def key_templates(self) -> tuple[tuple[str, Template], ...]:
        """Return the key attributes with their templates, in the order of the job file."""
        return tuple((name, parse(text)) for name, text in self.key.items())

    def attribute_rules(self) -> tuple[tuple[str, Constant | Filled | Sql], ...]:
        """Return the explicit attributes, in the order of the job file, free of YAML's ways to write them."""
        return tuple((name, _resolved(value)) for name, value in self.attributes.items())

    def for_each_path(self) -> tuple[str, ...] | None:
        """Return the path to the list whose elements become items; None without `for_each`."""
        return None if self.for_each is None else _list_path(self.for_each)

    @property
    def attributes_known(self) -> frozenset[str] | None:
        """The attributes that items can have besides the key; None where the source's columns decide."""
        match self.include:
            case "all":
                return None
            case "none":
                return frozenset(self.attributes)
            case columns:
                return frozenset(self.attributes) | (frozenset(columns) - frozenset(self.exclude))

    @model_validator(mode="after")
    def _check(self) -> "ItemRule":
        if self.exclude and self.include == "none":
            raise Misfit("there is nothing to leave out; it needs `include`", "exclude")
        for name in self.attributes:
            if name in self.key:
                raise Misfit("this is a key attribute already; write it under `key` only", "attributes", name)
        for name, template in self.key_templates():
            if not template:
                raise Misfit("a key can't be the empty string", "key", name)
        if self.for_each is None:
            for at, placeholder in self._placeholders():
                if placeholder.of_element:
                    column = '"each"' + "".join(f".{name}" for name in placeholder.path[1:])
                    sentence = "{each} needs `for_each` in the same rule; a column named each is"
                    raise Misfit(f"{sentence} {{{column}}}", *at)
        elif not _is_path(self.for_each):
            raise Misfit("it must be the name of a list column or a dotted path, without braces", "for_each")
        return self

    def _placeholders(self) -> list[tuple[tuple[str, ...], Placeholder]]:
        """Return every placeholder with the path to its key."""
        found: list[tuple[tuple[str, ...], Placeholder]] = []
        for name, template in self.key_templates():
            found += [(("key", name), part) for part in placeholders(template)]
        for name, rule in self.attribute_rules():
            if isinstance(rule, Filled):
                found += [(("attributes", name), part) for part in placeholders(rule.template)]
        return found


def _resolved(value: str | bool | Decimal | Value | Sql) -> Constant | Filled | Sql:
    match value:
        case bool():
            return Constant("true" if value else "false", "BOOL")
        case Decimal():
            return Constant(format(value, "f"), "N")
        case Value():
            return Filled(parse(value.value), value.as_)
        case Sql():
            return value
        case _:
            template = parse(value)
            if placeholders(template):
                return Filled(template, None)
            return Constant("".join(part for part in template if isinstance(part, str)), "S")


def _list_path(text: str) -> tuple[str, ...]:
    placeholder = single(parse("{" + text + "}"))
    assert placeholder is not None
    return placeholder.path


def _is_path(text: str) -> bool:
    try:
        placeholder = single(parse("{" + text + "}"))
    except JobError:
        return False
    return placeholder is not None and placeholder.format is None
