"""Identifiers and literals as SQL text. COPY takes no parameters, so values have to be written out."""


def identifier(name: str) -> str:
    """Quote a name so that PostgreSQL takes it as it is."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a value as a string literal, right under either setting of standard_conforming_strings.

    Source: PostgreSQL documentation, section 4.1.2.2, "String Constants with C-Style Escapes".
    """
    quoted = value.replace("'", "''")
    if "\\" not in quoted:
        return f"'{quoted}'"
    escaped = quoted.replace("\\", "\\\\")
    return f" E'{escaped}'"


def enclosed(sql: str) -> str:
    """Put a user's SQL in parentheses; a comment at its end must not swallow the closing one."""
    return f"({sql}\n)"


def operator(sign: str) -> str:
    """Name an operator of pg_catalog, whatever the search_path has before it."""
    return f"OPERATOR(pg_catalog.{sign})"
