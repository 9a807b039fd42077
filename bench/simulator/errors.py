"""DynamoDB's error answers as exceptions, in DynamoDB's own words. Nothing else.

Source: texts compared with DynamoDB Local 3.3.1 and Dynoxide 1.2.1; where they differ, Dynoxide's, which a
public conformance suite checks against AWS.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

VALIDATE: Final = "com.amazon.coral.validate#"
SERVICE: Final = "com.amazon.coral.service#"
DYNAMODB: Final = "com.amazonaws.dynamodb.v20120810#"


class ApiError(Exception):
    """An answer other than 200. `extra` are the members of the answer beside type and message."""

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        status: int = 400,
        message_name: str = "message",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.message_name = message_name
        self.extra = extra or {}

    @property
    def code(self) -> str:
        """The type without its namespace, as in `ValidationException`."""
        return self.kind.rpartition("#")[2]

    def body(self) -> bytes:
        """Return the answer's body."""
        said = {self.message_name: self.message} if self.message else {}
        return orjson.dumps({"__type": self.kind, **said, **self.extra})


def invalid(message: str) -> ApiError:
    """Return a ValidationException."""
    return ApiError(VALIDATE + "ValidationException", message)


def invalid_value(message: str) -> ApiError:
    """Return the ValidationException about a value."""
    return invalid("One or more parameter values were invalid: " + message)


def constraint(where: str, rule: str, value: str | None = None) -> ApiError:
    """Return the ValidationException of a request that breaks the API's own model."""
    shown = "" if value is None else f" {value if value == 'null' else repr(value)}"
    return invalid(
        f"1 validation error detected: Value{shown} at '{where}' failed to satisfy constraint: "
        f"Member must {rule}"
    )


def malformed(message: str = "") -> ApiError:
    """Return the answer to a body that isn't what the API's model says."""
    return ApiError(SERVICE + "SerializationException", message, message_name="Message")


def unknown_operation() -> ApiError:
    """Return the answer to an operation that isn't there."""
    return ApiError(SERVICE + "UnknownOperationException")


def no_table(name: str | None = None) -> ApiError:
    """Return the answer to a request for a table that isn't there."""
    which = "" if name is None else f": Table: {name} not found"
    return ApiError(DYNAMODB + "ResourceNotFoundException", f"Requested resource not found{which}")


def in_use(message: str) -> ApiError:
    """Return the answer to a change that the table's state forbids."""
    return ApiError(DYNAMODB + "ResourceInUseException", message)


def condition_failed(item: Any = None) -> ApiError:
    """Return the answer to a write whose condition isn't met."""
    extra = None if item is None else {"Item": item}
    return ApiError(
        DYNAMODB + "ConditionalCheckFailedException", "The conditional request failed", extra=extra
    )


def server_error(status: int) -> ApiError:
    """Return the answer of a service that is having a bad day."""
    if status == 503:
        return ApiError(SERVICE + "ServiceUnavailable", "The service is temporarily unavailable.", status=503)
    return ApiError(
        DYNAMODB + "InternalServerError", "The request could not be processed by the service.", status=500
    )
