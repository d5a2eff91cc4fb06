"""Who is calling: the key in a request's headers, and the policy behind it."""

from starlette.datastructures import Headers

from apikeys.verification import digests_of
from common.errors import IncorrectKeyError, MissingKeyError
from usage.policies import Caller, Policies

MOST_KEY_CHARACTERS = 512


async def authenticate(headers: Headers, policies: Policies) -> Caller:
    """The caller whose key is in `headers`. Never in the address: addresses end in logs.

    Raises MissingKeyError, or IncorrectKeyError for a key that is malformed, unknown or revoked.
    """
    secret = presented_key(headers)
    if not secret:
        raise MissingKeyError
    digests = digests_of(secret) if len(secret) <= MOST_KEY_CHARACTERS else []
    caller = await policies.find(digests)
    if caller is None:
        raise IncorrectKeyError(secret)
    return caller


def presented_key(headers: Headers) -> str:
    """The key as OpenAI's, Anthropic's or Azure's SDK sends it; empty when there is none."""
    authorization = headers.get("authorization")
    if authorization:
        scheme, _space, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return secret.strip()
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()
