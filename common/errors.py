"""What `/v1` can answer instead of a result, each in the shape and with the retry contract of OpenAI's own API.

    ApiError
    ├── InvalidRequestError          400   the request cannot work as it is
    │   ├── BadJsonError             400   the body is not a JSON object
    │   ├── MissingParameterError    400   a field that must be there is not
    │   ├── InvalidValueError        400   a field has a value that cannot be
    │   ├── UnsupportedParameterError 400  a field this portal does not pass on, or a filter it does not know
    │   ├── ContextTooLongError      400   more tokens than the model reads
    │   └── BodyTooLargeError        413
    ├── AuthenticationError          401
    │   ├── MissingKeyError
    │   ├── RevokedKeyError                while a call was running
    │   ├── EndedKeyError                  its time is over
    │   ├── WrongKindOfKeyError            a management key, where models are
    │   ├── ManagementKeyNeededError       a key for models, where there are none
    │   ├── NoSuchOrganizationError        unknown or not the caller's: told alike
    │   ├── AddressNotAllowedError
    │   └── IncorrectKeyError              malformed, unknown, revoked or disabled: told alike
    ├── NotAllowedError              403   the key does not open this
    │   ├── ModelNotAllowedError
    │   └── EndpointNotAllowedError
    ├── SecondFactorNeededError      403   passes once the key's owner has set one up
    ├── TermsNotAcceptedError        403   passes once a person has accepted the terms of use
    ├── NotFoundError                404
    │   ├── UnknownRouteError
    │   └── ModelNotFoundError             unknown or not allowed: told alike
    │       └── RetiredModelError          was there, and is no longer
    ├── MethodNotAllowedError        405
    ├── ConflictError                409   what it is about is in a state that does not allow it
    │   └── BeingMadeError                 an earlier request is making it: carries Retry-After
    ├── IdempotencyKeyReusedError    422   the key of another request
    ├── RateLimitError               429   passes by itself: carries Retry-After
    ├── BudgetError                  429   passes only when somebody acts: says not to retry
    ├── InternalError                500   our own fault
    ├── UpstreamError                502   the inference server failed
    │   └── UpstreamTimeoutError     504
    ├── OverloadedError              503   try again in a moment: carries Retry-After
    │   ├── SlotsTakenError                every server of the model has as many calls as it may
    │   └── RestartingError                this process was told to stop
    └── StorageFullError             507   passes only when the operator makes room: says not to retry

No text here ever holds an address or a host of ours, or an unmasked key: texts from inference servers are rebuilt, not
forwarded.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

# SDKs ignore a Retry-After above a minute, or give up on it: a longer wait is said not to be worth retrying.
LONGEST_RETRY_SECONDS = 60.0


class ApiError(Exception):
    """A refusal or failure as a client reads it. `headers` are sent with it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None
    limit: str = ""
    """Which kind of limit refused the call; empty when none did."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.param = param
        self.kind = kind or self.type
        self.headers: dict[str, str] = dict(headers or {})
        # What programs may want to know besides what every error says.
        self.details: dict[str, Any] = {}

    @property
    def ledger_code(self) -> str:
        """What the ledger calls it, where it may say more than a client is to tell apart."""
        return self.code or self.kind

    def body(self) -> dict[str, Any]:
        """The JSON object of the error, with all four keys always there: SDKs read each of them."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": {**told, **self.details}}


class InvalidRequestError(ApiError):
    status = 400
    type = "invalid_request_error"


class BadJsonError(InvalidRequestError):
    def __init__(self) -> None:
        super().__init__(
            "We could not parse the JSON body of your request. The body must be one JSON object, encoded as UTF-8."
        )


class MissingParameterError(InvalidRequestError):
    default_code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.", param=param)


class InvalidValueError(InvalidRequestError):
    default_code = "invalid_value"

    def __init__(self, param: str, expected: str) -> None:
        super().__init__(f"Invalid value for '{param}': expected {expected}.", param=param)


class UnsupportedParameterError(InvalidRequestError):
    default_code = "unsupported_parameter"

    def __init__(self, param: str, reason: str = "This parameter is not passed on to the model's server.") -> None:
        super().__init__(f"Unsupported parameter: '{param}'. {reason}", param=param)


class ContextTooLongError(InvalidRequestError):
    default_code = "context_length_exceeded"

    def __init__(self, *, limit: int | None, requested: int | None) -> None:
        most = f"This model's maximum context length is {limit} tokens." if limit else "The request is too long."
        asked = f" You requested {requested} tokens." if requested else ""
        super().__init__(f"{most}{asked} Shorten the messages or the answer asked for.", param="messages")


class BodyTooLargeError(InvalidRequestError):
    status = 413

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(f"The request body is larger than the {limit_bytes} bytes this portal accepts.")


class AuthenticationError(ApiError):
    status = 401
    type = "invalid_request_error"


class MissingKeyError(AuthenticationError):
    def __init__(self) -> None:
        super().__init__(
            "You didn't provide an API key. Provide it in an Authorization header using Bearer auth "
            "(Authorization: Bearer YOUR_KEY)."
        )


class IncorrectKeyError(AuthenticationError):
    default_code = "invalid_api_key"

    def __init__(self, presented: str) -> None:
        super().__init__(
            f"Incorrect API key provided: {masked(presented)}. It is unknown, or was revoked or disabled. "
            "You find your keys on the portal's Keys page."
        )


class EndedKeyError(AuthenticationError):
    default_code = "invalid_api_key"

    def __init__(self, presented: str) -> None:
        super().__init__(
            f"The API key {masked(presented)} is no longer valid: it expired, was replaced by a newer secret, or its "
            "project has ended. The portal's Keys page says which."
        )


class WrongKindOfKeyError(AuthenticationError):
    default_code = "invalid_api_key"

    def __init__(self, presented: str) -> None:
        super().__init__(
            f"The API key {masked(presented)} is a management key, which opens the portal's /api/ and "
            "/v1/organization, and no model. Use a key of a project."
        )


class ManagementKeyNeededError(AuthenticationError):
    default_code = "invalid_api_key"

    def __init__(self, presented: str) -> None:
        super().__init__(
            f"The API key {masked(presented)} is a key for models. /v1/organization asks for a management key, which "
            "you make on the portal's Keys page."
        )


class NoSuchOrganizationError(AuthenticationError):
    default_code = "invalid_organization"

    def __init__(self, organization: str) -> None:
        super().__init__(
            f"No such organization: {organization[:40]}. The header OpenAI-Organization names one that the key's owner "
            "belongs to; without it all of them are meant."
        )


class AddressNotAllowedError(AuthenticationError):
    default_code = "ip_not_authorized"

    def __init__(self, address: str, *, by_organization: bool) -> None:
        # Which list, and not what is on it: the caller may be a thief.
        whose = (
            "the list that the organization sets for all of its keys: the portal's Keys page, Policy, has it"
            if by_organization
            else "this key's own list: its page in the portal has it"
        )
        super().__init__(f"This API key may not be used from your IP address, {address}, which is not on {whose}.")


class RevokedKeyError(AuthenticationError):
    default_code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("The API key of this request was revoked while it was being answered.")


class NotAllowedError(ApiError):
    status = 403
    type = "invalid_request_error"


class ModelNotAllowedError(NotAllowedError):
    default_code = "model_not_allowed"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"This API key may not use the model `{model[:200]}`. `GET /v1/models` lists those it may use.",
            param="model",
        )


class EndpointNotAllowedError(NotAllowedError):
    default_code = "endpoint_not_allowed"

    def __init__(self, path: str) -> None:
        super().__init__(f"This API key may not use /v1/{path}. Its page in the portal says what it may be used for.")


class TermsNotAcceptedError(ApiError):
    status = 403
    type = "permission_error"
    default_code = "terms_not_accepted"

    def __init__(self, url: str) -> None:
        super().__init__(f"The terms of use have to be accepted before this key works. Read and accept them at {url}.")


class SecondFactorNeededError(ApiError):
    status = 403
    type = "permission_error"
    default_code = "second_factor_required"

    def __init__(self, url: str) -> None:
        super().__init__(f"The owner of this key must have a second factor before it works. They set one up at {url}.")


class NotFoundError(ApiError):
    status = 404
    type = "invalid_request_error"


class UnknownRouteError(NotFoundError):
    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {path})")


class ModelNotFoundError(NotFoundError):
    default_code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model[:200]}` does not exist or you do not have access to it.")


class RetiredModelError(ModelNotFoundError):
    """`successor` is the name to use instead; None when staff named none."""

    def __init__(self, model: str, *, on: str, successor: str | None) -> None:
        instead = f"Use `{successor}` instead." if successor else "`GET /v1/models` lists those that are served."
        NotFoundError.__init__(self, f"The model `{model}` was retired on {on} (UTC). {instead}")


class MethodNotAllowedError(ApiError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_supported"

    def __init__(self, method: str, path: str, allowed: Collection[str]) -> None:
        super().__init__(
            f"Not allowed to {method} on {path}. Use {' or '.join(allowed)}.", headers={"Allow": ", ".join(allowed)}
        )


class ConflictError(ApiError):
    """Every SDK would retry a 409, which changes nothing here: it is told not to."""

    status = 409
    type = "invalid_request_error"

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, headers=retry_headers(None))


class BeingMadeError(ConflictError):
    """Unlike other conflicts this one passes by itself."""

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is being worked on. Send it again in a moment to read the answer.",
            code="idempotency_key_in_use",
        )
        self.headers = retry_headers(1.0)


class IdempotencyKeyReusedError(ApiError):
    status = 422
    type = "invalid_request_error"
    default_code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another request within the last 24 hours. Use a new key for each thing you "
            "want to make, and the same one only to send the same request again.",
            param="Idempotency-Key",
        )


class RateLimitError(ApiError):
    """A limit that time lifts. `wait_seconds` None: this request alone is larger than the limit, waiting is no use."""

    status = 429
    type = "requests"
    default_code = "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str, wait_seconds: float | None, limit: str = "") -> None:
        super().__init__(message, kind=kind, headers=retry_headers(wait_seconds))
        self.limit = limit


class BudgetError(ApiError):
    """Money is used up. Every SDK would retry a 429, so it is told not to, and no Retry-After promises anything."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"

    def __init__(self, message: str, *, of: str = "key", span: str = "monthly", is_reserved: bool = False) -> None:
        """`of` is whose budget it is, of a `span` of time. To a client it is one like another; who reads the ledger has
        to know. `is_reserved` where it would do for the call, were it not for what running calls have reserved of it.
        """
        super().__init__(message, headers={"x-should-retry": "false"})
        self.is_reserved = is_reserved
        self._ledger_code = budget_code(of, span)
        self.limit = f"{of}_budget"

    @property
    def ledger_code(self) -> str:
        return self._ledger_code


def budget_code(of: str, span: str) -> str:
    """What the ledger calls a refusal by a budget: whose it is (the kind of a scope), and of what span of time."""
    # It was there before there were others.
    return "cohort_allowance" if (of, span) == ("participant", "monthly") else f"{of}_{span}_budget"


BUDGET_CODES = {
    budget_code(of, span): (of, span)
    for of in ("key", "participant", "member", "project", "organization", "plan", "model")
    for span in ("daily", "weekly", "monthly")
}
"""Whose budget, and of what span, each of the ledger's codes for a refusal by one stands for."""


class InternalError(ApiError):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"The portal had an error while handling your request. Its id is {request_id}.")


class UpstreamError(ApiError):
    """`fault` says what the server did; what the client can do is the same for all of them, and is added."""

    status = 502

    def __init__(self, fault: str = "The model's server failed to answer.", *, code: str | None = None) -> None:
        super().__init__(f"{fault} Try again; if it lasts, tell the operator the request id.", code=code)


class UpstreamTimeoutError(UpstreamError):
    status = 504

    def __init__(self) -> None:
        super().__init__("The model's server took too long to answer.", code="upstream_timeout")


class OverloadedError(ApiError):
    status = 503
    default_code = "service_unavailable"

    def __init__(self, message: str, *, wait_seconds: float = 1.0) -> None:
        super().__init__(message, headers=retry_headers(wait_seconds))


class RestartingError(OverloadedError):
    default_code = "server_restarting"

    def __init__(self) -> None:
        super().__init__("The portal is being restarted, and this answer was not finished. Send the request again.")


class SlotsTakenError(OverloadedError):
    """Every place where the model runs has as many calls in hand as it may."""

    default_code = "server_is_overloaded"

    def __init__(self, model: str) -> None:
        super().__init__(f"All servers of the model `{model}` are busy. Try again in a moment.")


class StorageFullError(ApiError):
    status = 507
    default_code = "storage_full"

    def __init__(self) -> None:
        super().__init__(
            "The portal has no room left for files. Tell its operator; deleting files that you no longer need helps.",
            headers=retry_headers(None),
        )


def retry_headers(wait_seconds: float | None) -> dict[str, str]:
    """Headers that make OpenAI's SDKs wait `wait_seconds`, or not retry at all when that is None or over a minute."""
    if wait_seconds is None:
        return {"x-should-retry": "false"}
    headers = {
        "Retry-After": str(max(1, math.ceil(wait_seconds))),
        "retry-after-ms": str(max(1, math.ceil(wait_seconds * 1000))),
    }
    if wait_seconds > LONGEST_RETRY_SECONDS:
        headers["x-should-retry"] = "false"
    return headers


def masked(secret: str) -> str:
    """Enough of a presented key to recognise it, too little to use it. Safe in a header, a log line and a page."""
    shown = "".join(character if character.isascii() and character.isprintable() else "?" for character in secret)
    if len(shown) < 24:
        return f"{shown[:2]}****"
    return f"{shown[:6]}****{shown[-4:]}"
