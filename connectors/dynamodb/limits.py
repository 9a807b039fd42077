"""What DynamoDB allows, one named constant for each limit, with its source. Nothing else."""

BATCH_ITEMS_MAX = 25
"""Puts and deletes of one request. Source: API_BatchWriteItem."""
REQUEST_BYTES_MAX = 16 * 1024 * 1024
"""All of one request's body. Source: API_BatchWriteItem."""
STATEMENTS_MAX = 25
"""Statements of one request. Source: API_BatchExecuteStatement, Statements."""
STATEMENT_LENGTH_MAX = 8_192
"""Characters of one PartiQL statement. Source: API_BatchStatementRequest, Statement."""
ITEM_BYTES_MAX = 400 * 1024
"""Names and values of one item. Source: Amazon DynamoDB Developer Guide, "Constraints"."""
PARTITION_KEY_BYTES_MAX = 2_048
"""Of a table or an index. Source: Developer Guide, "Constraints", "Partition keys and sort keys"."""
SORT_KEY_BYTES_MAX = 1_024
"""Of a table or an index. Source: as PARTITION_KEY_BYTES_MAX."""
ATTRIBUTE_NAME_BYTES_MAX = 64 * 1024 - 1
"""Of any attribute. Source: Developer Guide, "Constraints", "Attribute names": under 64 KB."""
NESTING_LEVELS_MAX = 32
"""Lists and maps within each other, the innermost value counted too: 31 of them around a string.

Source: Developer Guide, "Constraints", "Nested attribute depth"; tried on DynamoDB Local and Dynoxide.
"""
NUMBER_DIGITS_MAX = 38
"""Significant digits of an N. Source: Developer Guide, "Supported data types and naming rules", Number."""
NUMBER_MAGNITUDE_MIN, NUMBER_MAGNITUDE_MAX = -130, 125
"""Power of ten of an N's first significant digit: 1E-130 to 9.99…E+125. Source: as NUMBER_DIGITS_MAX."""
WRITE_UNIT_BYTES = 1_024
"""What one write unit pays for. Source: Developer Guide, "Read and write capacity units"."""
PARTITION_WCU_PER_S = 1_000
"""What one partition takes. Source: Developer Guide, "Best practices for partition keys"."""

REQUEST_LIFE_S = 5.0
"""A server is taken to work no longer than that on a request that its client has given up. An assumption:
DynamoDB names no such time, and answers in milliseconds. Where keys repeat in every batch, each failed
request costs this much, and what a worker was reading that died waits so long for another one."""

CAPACITY_WANTED = b',"ReturnConsumedCapacity":"INDEXES"'
"""How a request asks what it cost, index by index. Source: API reference, BatchWriteItem."""
