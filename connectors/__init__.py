"""Every connector there is, one line each: the table by which a job's `type` finds its end."""

from engine.registry import SOURCES, STATES, TARGETS

SOURCES.add("postgres", "connectors.postgres.connector:CONNECTOR")
SOURCES.add("mongodb", "connectors.mongodb.connector:CONNECTOR")

TARGETS.add("dynamodb", "connectors.dynamodb.connector:CONNECTOR")

STATES.add("sqlite", "engine.state.local:CONNECTOR")
STATES.add("dynamodb", "connectors.dynamodb.state.connector:CONNECTOR")
