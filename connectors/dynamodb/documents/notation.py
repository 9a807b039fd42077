"""DynamoDB's words for values of any shape, what each counts, and which numbers it holds. Nothing else."""

from connectors.dynamodb.documents.numbers import NUMBER_SIZE_MAX, PLAIN_LENGTH_MAX
from connectors.dynamodb.limits import NUMBER_DIGITS_MAX, NUMBER_MAGNITUDE_MAX, NUMBER_MAGNITUDE_MIN
from engine.contracts.documents import AS_TEXT, Affix, Decimals, Notation

LEVELS_MAX = 64
"""Nesting at which a document isn't taken apart any more; well over what DynamoDB takes."""
CONTAINER_SIZE, ELEMENT_SIZE = 3, 1
"""What a list or a map adds to an item's size, and each of its elements.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""
NOTATION = Notation(
    string=Affix('{"S":', "}"),
    number=Affix('{"N":"', '"}'),
    binary=Affix('{"B":"', '"}'),
    bool=Affix('{"BOOL":', "}"),
    list=Affix('{"L":[', "]}"),
    map=Affix('{"M":{', "}}"),
    null='{"NULL":true}',
    nameless=f"a member has the empty name, which DynamoDB refuses{AS_TEXT}",
    null_size=1,
    bool_size=1,
    container_size=CONTAINER_SIZE,
    element_size=ELEMENT_SIZE,
    decimals=Decimals(
        digits_max=NUMBER_DIGITS_MAX,
        magnitude_min=NUMBER_MAGNITUDE_MIN,
        magnitude_max=NUMBER_MAGNITUDE_MAX,
        plain_length_max=PLAIN_LENGTH_MAX,
        size_max=NUMBER_SIZE_MAX,
    ),
)
