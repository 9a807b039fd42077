"""DynamoDB as a target: limits, wire encoding, transport, writing, tables."""
