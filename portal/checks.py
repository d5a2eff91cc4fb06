"""Wrong configuration stops the start, with a hint; web and workers call `refuse_wrong_configuration` first."""

import base64
import re
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.core.exceptions import ImproperlyConfigured

from common.networks import parsed

TAG = "portal"


@register(TAG)
def secrets_are_set(**kwargs: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    if not settings.SECRET_KEY_IS_SET:
        errors.append(
            Error(
                "SECRET_KEY is not set.",
                hint="`make run` makes one; elsewhere set 50 random characters.",
                id="portal.E001",
            )
        )
    elif len(settings.SECRET_KEY) < 32 or settings.SECRET_KEY.startswith("django-insecure-"):
        errors.append(
            Error("SECRET_KEY is a default or too short.", hint="Set 50 random characters.", id="portal.E002")
        )
    for key in settings.FIELD_ENCRYPTION_KEYS:
        try:
            Fernet(key)
        except ValueError:
            errors.append(
                Error(
                    "FIELD_ENCRYPTION_KEYS holds something that is no Fernet key.", hint=FERNET_HINT, id="portal.E003"
                )
            )
        else:
            # Nobody draws one such as AAAA…=, which stands in examples, by chance.
            if len(set(base64.urlsafe_b64decode(key))) < FEWEST_BYTES:
                errors.append(
                    Error("FIELD_ENCRYPTION_KEYS holds a key of an example.", hint=FERNET_HINT, id="portal.E009")
                )
    if not settings.FIELD_ENCRYPTION_KEYS:
        errors.append(Error("FIELD_ENCRYPTION_KEYS is not set.", hint=FERNET_HINT, id="portal.E004"))
    if not settings.KEY_PEPPERS:
        errors.append(
            Error(
                "KEY_PEPPERS is not set.", hint="Set `1:` followed by 32 random characters or more.", id="portal.E005"
            )
        )
    for pepper in settings.KEY_PEPPERS:
        version, _, value = pepper.partition(":")
        if not version.isdigit() or len(value) < 32:
            errors.append(
                Error(
                    "KEY_PEPPERS must be versions and secrets, such as `1:…`, each secret of 32 characters or more.",
                    id="portal.E006",
                )
            )
    versions = [pepper.partition(":")[0] for pepper in settings.KEY_PEPPERS]
    if len(set(versions)) < len(versions):
        errors.append(
            Error(
                "KEY_PEPPERS has one version twice, and only one of the two would be used.",
                hint="Give the new one the next number: the highest hashes new keys.",
                id="portal.E011",
            )
        )
    return errors


FEWEST_BYTES = 8
FERNET_HINT = (
    "Make one with `python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`."
)


@register(TAG)
def names_can_be(**kwargs: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    public = urlsplit(settings.PUBLIC_URL)
    if public.scheme not in {"http", "https"} or not public.hostname:
        errors.append(
            Error(
                "PUBLIC_URL is no address of a site.",
                hint="Set the whole of it, such as https://ai.example.com.",
                id="portal.E007",
            )
        )
    # Longer ones do not fit the column, and logs would not recognize others to mask them.
    if not re.fullmatch(r"[0-9A-Za-z]{2,12}", settings.API_KEY_PREFIX):
        errors.append(
            Error("API_KEY_PREFIX must be 2 to 12 letters or digits.", hint="The default is lyc.", id="portal.E008")
        )
    return errors


@register(TAG)
def stores_are_named(**kwargs: Any) -> list[CheckMessage]:
    if settings.DATABASE_URL:
        return []
    return [
        Error(
            "No PostgreSQL: DATABASE_URL is not set and no portal was started here.",
            hint="Start one with `make run`, or set DATABASE_URL=postgres://user:password@host:5432/name.",
            id="portal.E010",
        )
    ]


@register(TAG)
def networks_are_networks(**kwargs: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for name in ("OUTBOUND_NETWORKS", "METRICS_NETWORKS"):
        try:
            parsed(tuple(getattr(settings, name)))
        except ValueError as error:
            errors.append(
                Error(
                    f"{name} holds something that is no network: {error}.",
                    hint="Write networks as 10.20.0.0/16, separated by commas.",
                    id="portal.E030",
                )
            )
    return errors


FEWEST_TOKEN_CHARACTERS = 20


@register(TAG)
def token_of_metrics_is_none_to_guess(**kwargs: Any) -> list[CheckMessage]:
    if not settings.METRICS_TOKEN or len(settings.METRICS_TOKEN) >= FEWEST_TOKEN_CHARACTERS:
        return []
    return [
        Error(
            f"METRICS_TOKEN is shorter than {FEWEST_TOKEN_CHARACTERS} characters.",
            hint="Make one with `openssl rand -hex 24`.",
            id="portal.E031",
        )
    ]


@register(TAG)
def production_is_safe(**kwargs: Any) -> list[CheckMessage]:
    if not settings.PRODUCTION:
        return []
    errors: list[CheckMessage] = []
    if settings.DEBUG:
        errors.append(Error("DEBUG is on in production.", hint="Unset DEBUG.", id="portal.E020"))
    if not (settings.SESSION_COOKIE_SECURE and settings.CSRF_COOKIE_SECURE):
        errors.append(Error("Session or CSRF cookie is not secure.", id="portal.E021"))
    if not settings.EMAIL_URL:
        errors.append(
            Error(
                "No mail server: nobody could confirm an address or reset a password.",
                hint="Set EMAIL_URL, for instance smtp+tls://user:password@mail.example.com:587.",
                id="portal.E022",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        errors.append(Error("ALLOWED_HOSTS admits any host.", id="portal.E023"))
    return errors


def refuse_wrong_configuration() -> None:
    """Raise ImproperlyConfigured, naming every fault and its cure, when this installation must not start."""
    faults = [message for message in run_checks(tags=[TAG]) if message.is_serious()]
    if faults:
        raise ImproperlyConfigured("\n".join(f"{fault.msg} {fault.hint or ''}".strip() for fault in faults))
