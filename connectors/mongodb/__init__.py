"""MongoDB as a source."""

from connectors.mongodb.source import MongoDBSource, open_source

__all__ = ["MongoDBSource", "open_source"]
