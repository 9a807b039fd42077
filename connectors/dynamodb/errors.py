"""What a refusal of AWS, or an error of its libraries, is to us: one sentence, with what to do about it.

Invariant: whatever the code or the class, the sentence is one line that names what was asked for and the next
step. No message that repeats what was signed is passed on: a session's token stands in it.
"""

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import BackfillError, JobError, PermanentError, TransientError
from engine.frozen import dataclass

WORDS_CHARS_MAX = 400
"""Of what a server or a program says, so much is passed on."""

# Codes without `Exception`. Sources: the API references' common errors; botocore's models of the operations
# of DynamoDB, STS and IAM Identity Center that are called.
DENIED = frozenset({"AccessDenied", "NotAuthorized", "Unauthorized", "Forbidden"})
UNKNOWN_KEYS = frozenset(
    {"UnrecognizedClient", "InvalidClientTokenId", "MissingAuthenticationToken", "InvalidAccessKeyId"}
)
UNSIGNED = frozenset({"InvalidSignature", "IncompleteSignature", "SignatureDoesNotMatch"})
"""Their messages repeat what was signed."""
ENDED = frozenset({"ExpiredToken", "ExpiredTokenIssue", "TokenRefreshRequired"})
OUT_OF_TIME = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
GONE = frozenset({"ResourceNotFound", "TableNotFound"})
THROTTLED = frozenset(
    {
        *("ProvisionedThroughputExceeded", "Throttling", "ThrottlingError", "Throttled", "TooManyRequests"),
        *("SlowDown", "RequestThrottled", "RequestLimitExceeded", "LimitExceeded"),
    }
)
AWAY = frozenset(
    {
        *("InternalServerError", "InternalServer", "InternalFailure", "InternalError", "ServiceUnavailable"),
        *("RequestTimeout", "RequestAborted", "IDPCommunicationError", "ResourceInUse", "TableInUse"),
        *("TransactionConflict", "TransactionInProgress", "ReplicatedWriteConflict"),
        *("ContinuousBackupsUnavailable",),
    }
)
NOT_SUBSCRIBED = frozenset({"OptInRequired", "SubscriptionRequired", "RegionDisabled"})
UNFIT = frozenset(
    {
        *("Validation", "ValidationError", "Serialization", "InvalidParameterCombination"),
        *("InvalidParameterValue", "InvalidQueryParameter", "MissingParameter", "UnknownOperation"),
        *("InvalidAction", "MissingAction", "MalformedQueryString", "MalformedHttpRequest"),
        *("RequestEntityTooLarge", "UnsupportedOperation"),
    }
)

DOES: Mapping[str, str] = {
    **dict.fromkeys(("Scan", "Query", "GetItem", "BatchGetItem"), "read"),
    "DescribeTable": "look at",
    "CreateTable": "create",
    "UpdateContinuousBackups": "switch on the backups of",
}
"""What operations do to a table; all others write to it."""
ACTIONS: Mapping[str, str] = {
    "BatchExecuteStatement": "dynamodb:PartiQLInsert",
    "TransactWriteItems": "dynamodb:PutItem, UpdateItem, DeleteItem and ConditionCheckItem",
}
"""Where the right has another name than the operation. Source: service authorization reference, DynamoDB."""
BEFORE_ALL = frozenset({"DescribeTable", "CreateTable", "UpdateContinuousBackups"})
"""What is asked before anything is written: a refusal says that the job doesn't fit."""

_STEPS: Mapping[str, str] = {
    "AssumeRole": "see that the role of role_arn may be assumed by its source, and what MFA code it wants",
    "AssumeRoleWithWebIdentity": "see the role's trust policy, and the token in AWS_WEB_IDENTITY_TOKEN_FILE",
    "AssumeRoleWithSAML": "see the role's trust policy, and sign in again",
    **dict.fromkeys(("GetRoleCredentials", "CreateToken", "StartDeviceAuthorization"), "run `aws sso login`"),
}
UNREACHED = frozenset({"ConnectionError", "HTTPClientError", "IncompleteReadError"})
SSO = frozenset({"SSOError", "TokenRetrievalError", "NoAuthTokenError", "UnknownTokenProviderError"})

CLOCK_OFF = "the clock is off"
_ACTION = re.compile(r"to perform: (\S+)")
_CLOCK = ("Signature expired", "not yet current")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about: the job key that names it, its name in a sentence, and who is asked."""

    key: str
    name: str
    where: str = "DynamoDB"

    @property
    def section(self) -> str:
        """The section of the job that the key stands in."""
        return self.key.partition(".")[0]


def bare(code: str) -> str:
    """Cut `com.amazonaws.dynamodb.v20120810#ValidationException` down to `Validation`."""
    return code.rsplit("#", 1)[-1].split(":", 1)[0].removesuffix("Exception")


def words(text: object) -> str:
    """Return what somebody says as one line of bounded length, without the full stop."""
    line = " ".join(str(text).split()).rstrip(".")
    return line if len(line) <= WORDS_CHARS_MAX else f"{line[:WORDS_CHARS_MAX]}…"


def refused(code: str, message: str, operation: str, of: Subject) -> BackfillError:
    """Return what a refusal of an operation on a table is to us.

    Shape: `code` as the server writes it, or `HTTP 403` where it names none, as DynamoDB always does.
    """
    code = bare(code)
    fault: type[BackfillError] = JobError if operation in BEFORE_ALL else PermanentError
    message = _spoken(code, message)
    said = f"run again ({of.where} says {': '.join(filter(None, (code, message)))})"
    if code in THROTTLED | AWAY or code.startswith("HTTP 5"):
        return TransientError(f"{of.key}: {of.name} can't be served now: wait, and {said}")
    if code in DENIED:
        return fault(f"{of.key}: {_denied(message, operation, of)} and {said}")
    if code in GONE:
        return fault(f"{of.key}: {of.name} isn't there any more: create it or correct {of.key}, and {said}")
    if code in OUT_OF_TIME or message == CLOCK_OFF:
        return fault(f"{of.where} refuses requests of this time: set this machine's clock, and {said}")
    if code in ENDED:
        return fault(f"the AWS credentials have expired: sign in again, and {said}")
    if code in UNKNOWN_KEYS | UNSIGNED:
        return fault(f"the AWS credentials aren't accepted: mend them or {of.section}.profile, and {said}")
    if code in NOT_SUBSCRIBED:
        return fault(
            f"{of.section}.region: this account can't use DynamoDB there: choose another, and {said}"
        )
    if code.startswith("HTTP "):
        what = "what answers doesn't seem to be DynamoDB"
        return fault(f"{of.section}.endpoint_url: {what}: correct it or what stands between, and {said}")
    if code.startswith("KMS"):
        return fault(
            f"{of.key}: the key that encrypts {of.name} can't be used: enable it in AWS KMS, and {said}"
        )
    if code in UNFIT and operation in BEFORE_ALL:
        return JobError(f"{of.key}: {operation} is refused for {of.name}: correct the job, and {said}")
    does = DOES.get(operation, "write to")
    return fault(f"{of.key}: nothing can {does} {of.name}: mend what stands in the way, and {said}")


def _spoken(code: str, message: str) -> str:
    """Return what may be passed on of a server's words."""
    if code in UNSIGNED or "security-token" in message.lower():
        return CLOCK_OFF if any(part in message for part in _CLOCK) else ""
    return words(message)


def _denied(message: str, operation: str, of: Subject) -> str:
    """Say which right is missing, by the server's own words where it names it."""
    named = _ACTION.search(message)
    action = named[1].rstrip(".,;") if named else ACTIONS.get(operation, f"dynamodb:{operation}")
    step = f"allow {action} on {'its key' if action.startswith('kms:') else 'it'}"
    if "explicit deny" in message:
        step = f"lift the explicit deny of {action}"
    return f"no permission to {DOES.get(operation, 'write to')} {of.name}: {step}"


def unreached(error: Exception, of: Subject) -> TransientError:
    """Return what it is to us that nobody answers."""
    return TransientError(
        f"{of.where} can't be reached for {of.name} ({words(error)}): check the network,"
        f" {of.section}.region and {of.section}.endpoint_url, then run again"
    )


def credentials_failed(error: Exception, whose: str) -> BackfillError:
    """Return what it is to us that credentials can't be had. `whose`: for a sentence."""
    # By their names: which classes there are, depends on the library's version.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = words(error) or type(error).__name__
    if isinstance(error, BackfillError):
        return JobError(f"{said} ({whose})")
    if "ProfileNotFound" in kinds:
        return JobError(f"target.profile or AWS_PROFILE: {said}; name one that is there, and run again")
    fault: type[BackfillError] = JobError
    step = "correct the AWS configuration, or name another profile in target.profile"
    if "ClientError" in kinds:
        code, message, operation = _answered(error)
        said = f"{operation} is refused, {': '.join(filter(None, (code, _spoken(code, message))))}"
        step = _STEPS.get(operation, "mend the profile or sign in again")
        fault = TransientError if code in THROTTLED | AWAY else JobError
    elif "SSLError" in kinds:
        step = "name the CA's file in AWS_CA_BUNDLE"
    elif kinds & UNREACHED:
        fault, step = TransientError, "check the network"
    elif kinds & SSO:
        step = "run `aws sso login` for it"
    elif "LoginError" in kinds:
        step = "run `aws login` for it"
    elif not kinds & {"BotoCoreError", "ValueError"}:
        said = f"{type(error).__name__}: {said}"
        step = "correct its credential_process, sso_session or role_arn, or name another in target.profile"
    return fault(f"AWS credentials of {whose} can't be had ({said}): {step}, and run again")


def _answered(error: Any) -> tuple[str, str, str]:
    """Return code, message and operation of a ClientError."""
    told = error.response.get("Error", {})
    return bare(told.get("Code") or "Unknown"), told.get("Message") or "", error.operation_name
