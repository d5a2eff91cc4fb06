"""Rules with which secret scanners find this installation's keys."""

import json
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.verification import CHECKSUM_LENGTH, KIND_PARTS, RANDOM_LENGTH

EXAMPLE_PAYLOAD = "EXAMPLE0" * 4 + "0000"
"""As long as that of a key, with a wrong checksum: it is found, and opens nothing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A file for one scanner."""

    name: str
    title: str | Promise
    language: str
    how: str | Promise


RULES = [
    Rules("gitleaks.toml", "gitleaks", "toml", _("Put it into .gitleaks.toml, or join it to yours.")),
    Rules("trufflehog.yaml", "TruffleHog", "yaml", _("Run trufflehog with --config and this file.")),
    Rules(
        "github.txt",
        _("GitHub custom pattern"),
        "text",
        _("In the settings of a repository or an organization, under secret scanning."),
    ),
    Rules(
        "pre-commit.yaml",
        "pre-commit",
        "yaml",
        _("Put it into .pre-commit-config.yaml: a commit that holds a key is refused before it is made."),
    ),
]


def prefixes() -> list[str]:
    """What the keys of this installation begin with, one for each kind."""
    return [f"{settings.API_KEY_PREFIX}{part}_" for part in KIND_PARTS.values()]


def pattern() -> str:
    """A regular expression that every key matches, of the kind that all scanners read."""
    parts = "|".join(part for part in KIND_PARTS.values() if part)
    return f"{settings.API_KEY_PREFIX}(?:{parts})?_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}"


def within_text() -> str:
    """The same where scanners look through whole files: the key is the first group. An underscore may stand beside."""
    return rf"(?:\b|_)({pattern()})(?:\b|_)"


def examples() -> list[str]:
    """What must be found."""
    return [prefix + EXAMPLE_PAYLOAD for prefix in prefixes()]


def text_of(name: str) -> str:
    """The file of this name. Raises KeyError for another."""
    return {
        "gitleaks.toml": _gitleaks,
        "trufflehog.yaml": _trufflehog,
        "github.txt": _github,
        "pre-commit.yaml": _pre_commit,
    }[name]()


def _title() -> str:
    return f"API key of {settings.PORTAL_NAME}"


def _gitleaks() -> str:
    return f"""[[rules]]
id = "{settings.API_KEY_PREFIX}-api-key"
description = {json.dumps(_title())}
regex = '''{within_text()}'''
secretGroup = 1
keywords = {json.dumps(prefixes())}
"""


def _trufflehog() -> str:
    keywords = "\n".join(f"      - {prefix}" for prefix in prefixes())
    return f"""detectors:
  - name: {json.dumps(_title())}
    keywords:
{keywords}
    regex:
      key: '{within_text()}'
"""


def _github() -> str:
    tests = "\n".join(examples())
    return f"""Pattern name
{_title()}

Secret format
{pattern()}

Before secret
\\A|[^0-9A-Za-z]

After secret
\\z|[^0-9A-Za-z]

Test strings
{tests}
"""


def _pre_commit() -> str:
    return f"""repos:
  - repo: local
    hooks:
      - id: {settings.API_KEY_PREFIX}-api-key
        name: {json.dumps("No " + _title())}
        language: pygrep
        entry: '(?<![0-9A-Za-z]){pattern()}(?![0-9A-Za-z])'
        types: [text]
"""
