"""Item rules: from rows in columns to the attributes of items in columns. Pure."""
