"""Who is calling: the key in a request's headers, and the policy or the person behind it."""

from collections.abc import Mapping

from django.conf import settings

from accounts.models import User
from apikeys.management_keys import Refusal, RefusedKeyError, open_with
from apikeys.verification import read
from common.context import current_origin
from common.errors import (
    AddressNotAllowedError,
    ApiError,
    EndedKeyError,
    IncorrectKeyError,
    ManagementKeyNeededError,
    MissingKeyError,
    SecondFactorNeededError,
    TermsNotAcceptedError,
    WrongKindOfKeyError,
)
from usage.policies import Caller, Policies

MOST_KEY_CHARACTERS = 512


async def authenticate(headers: Mapping[str, str], policies: Policies, *, address: str) -> Caller:
    """The caller whose key is in `headers`, calling from `address`. Never in the URL: those end in logs.

    Raises MissingKeyError; IncorrectKeyError for a key that is malformed, unknown, revoked or disabled;
    WrongKindOfKeyError, EndedKeyError, AddressNotAllowedError, and TermsNotAcceptedError for one whose maker has yet to
    accept the terms of use.
    """
    secret = presented_key(headers)
    if not secret:
        raise MissingKeyError
    kind, digests = read(secret) if len(secret) <= MOST_KEY_CHARACTERS else (None, [])
    if kind is None:
        raise IncorrectKeyError(secret)
    if kind == "management":
        raise WrongKindOfKeyError(secret)
    caller = await policies.find(digests)
    if caller is None:
        raise IncorrectKeyError(secret)
    if caller.has_ended:
        raise EndedKeyError(secret)
    if not caller.organization_allows(address):
        raise AddressNotAllowedError(address, by_organization=True)
    if not caller.key_allows(address):
        raise AddressNotAllowedError(address, by_organization=False)
    if caller.owes_terms:
        raise TermsNotAcceptedError(_terms_address())
    return caller


def authenticate_manager(headers: Mapping[str, str]) -> User:
    """The owner of the management key in `headers`, who only reads. Asks PostgreSQL, so call it in a thread.

    Raises MissingKeyError; IncorrectKeyError for a key that is malformed, unknown, revoked, disabled or expired;
    ManagementKeyNeededError, AddressNotAllowedError, SecondFactorNeededError and TermsNotAcceptedError.
    """
    secret = presented_key(headers)
    if not secret:
        raise MissingKeyError
    if len(secret) > MOST_KEY_CHARACTERS:
        raise IncorrectKeyError(secret)
    try:
        owner, _key = open_with(secret, writes=False)
    except RefusedKeyError as refusal:
        raise _as_answer(refusal.reason, secret) from refusal
    return owner


def _as_answer(reason: Refusal, secret: str) -> ApiError:
    match reason:
        case Refusal.WRONG_KIND:
            return ManagementKeyNeededError(secret)
        case Refusal.ADDRESS:
            return AddressNotAllowedError(current_origin.get().address, by_organization=False)
        case Refusal.SECOND_FACTOR:
            return SecondFactorNeededError(f"{settings.PUBLIC_URL}/second-factor/")
        case Refusal.TERMS:
            return TermsNotAcceptedError(_terms_address())
        case _:
            return IncorrectKeyError(secret)


def _terms_address() -> str:
    return f"{settings.PUBLIC_URL}/terms/"


def presented_key(headers: Mapping[str, str]) -> str:
    """The key as OpenAI's, Anthropic's or Azure's SDK sends it; empty when there is none."""
    authorization = headers.get("authorization")
    if authorization:
        scheme, _space, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return secret.strip()
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()
