"""Structured logs: one shape for our own lines and for those of libraries, the request id on each, no key in any."""

import re
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from structlog.typing import EventDict, Processor

from common.context import current_request_id

# Any key of ours, whatever prefix the installation chose: a prefix, an underscore, 36 base-62 characters. Whatever
# stands around it: a name such as `my_` before it makes it no other key.
API_KEY = re.compile(r"([0-9A-Za-z]{1,20}_)[0-9A-Za-z]{32}([0-9A-Za-z]{4})(?![0-9A-Za-z])")


# What signs a person in, invites them or stops their mail, in the path or the query of an address.
TOKEN_IN_PATH = re.compile(
    r"(/(?:setup|invitations?|join|unsubscribe|confirm-email|password/reset/key)/)[^/\s?\"'<>,)]+", re.IGNORECASE
)
TOKEN_IN_QUERY = re.compile(r"([?&](?:ticket|token|code|state|key)=)[^&\s\"'<>]+", re.IGNORECASE)
# PostgreSQL names the values that break a constraint: addresses of people, digests of keys.
BROKEN_CONSTRAINT = re.compile(r"(\bKey \(.{1,200}?\)=\().*\)")


def mask_secrets(text: str) -> str:
    """`text` without the middle of any API key, without tokens in addresses and values from PostgreSQL's errors."""
    text = API_KEY.sub(r"\1…\2", text)
    if "/" in text:
        text = TOKEN_IN_QUERY.sub(r"\1…", TOKEN_IN_PATH.sub(r"\1…", text))
    return BROKEN_CONSTRAINT.sub(r"\1…)", text)


def _masked(value: object) -> object:
    match value:
        case str():
            return mask_secrets(value)
        case dict():
            return {mask_secrets(str(name)): _masked(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_masked(inner) for inner in value]
        case bytes() | Exception():
            return mask_secrets(str(value))
    return value


def _mask(logger: object, name: str, event: EventDict) -> EventDict:
    return {field: _masked(value) for field, value in event.items()}


def _request_id(logger: object, name: str, event: EventDict) -> EventDict:
    if request_id := current_request_id.get():
        event.setdefault("request_id", request_id)
    return event


def _refusals_in_one_line(logger: object, name: str, event: EventDict) -> EventDict:
    """Without the traceback of a page that is not for its reader: that is no failure, and the path says all."""
    error = event.get("exc_info")
    if isinstance(error, tuple) and isinstance(error[1], PermissionDenied):
        del event["exc_info"]
    return event


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """The LOGGING setting: `style` is `json`, one object a line, or `plain`, for reading in a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _refusals_in_one_line,
    ]
    renderers: list[Processor]
    if style == "json":
        renderers = [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        renderers = [
            structlog.processors.format_exc_info,
            _mask,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"handlers": ["stderr"], "level": level, "propagate": False},
            "uvicorn.access": {"handlers": [], "propagate": False},
            "celery.beat": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }
