"""The job's `state` section for a DynamoDB table."""

from typing import Annotated, Literal

from pydantic import Field

from connectors.dynamodb.section import TABLE_NAME, Create, DynamoDBSection, EndpointUrl
from engine.job.section import Text
from engine.job.sections import StateSection

LEASE_S_MIN, LEASE_S_MAX = 2.0, 3_600.0
"""Below, one slow answer of the state table would stop a run; above, nobody waits for a takeover."""


class DynamoDBStateSection(StateSection):
    """State in a DynamoDB table, for runs that may go on from another machine."""

    type: Literal["dynamodb"]
    """The kind of state."""
    table: Annotated[str, Field(pattern=TABLE_NAME)]
    """The table's name; it is created if it isn't there."""
    region: Text | None = None
    """The AWS region; by default from the environment or the profile."""
    endpoint_url: EndpointUrl | None = None
    """Another endpoint than the region's, such as a local server's."""
    plain_http: bool = False
    """Whether AWS's own keys may be used over `http://` to another machine."""
    lease_s: Annotated[float, Field(ge=LEASE_S_MIN, le=LEASE_S_MAX)] = 60.0
    """Seconds after which another machine may take over from a runner that is gone, or stopped."""

    def as_target(self) -> DynamoDBSection:
        """Return the state's table as the section that sessions and table calls know."""
        return DynamoDBSection(
            type="dynamodb",
            table=self.table,
            region=self.region,
            endpoint_url=self.endpoint_url,
            plain_http=self.plain_http,
            create=Create(partition_key="PK", sort_key="SK"),
        )
