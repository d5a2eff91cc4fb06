"""What is asked under `/v1/organization`: who asks, and the query string as OpenAI's tools write it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.models import Membership, Project, User
from common.errors import InvalidValueError, MissingParameterError, NoSuchOrganizationError, UnsupportedParameterError

MOST_DIGITS = 18


class Parameters:
    """A query string. Lists come as `name=a&name=b` from curl and as `name[]=a&name[]=b` from OpenAI's SDKs."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            self._values[name.removesuffix("[]")].append(value)

    def refuse_all_but(self, known: Collection[str]) -> None:
        """Raise UnsupportedParameterError for any other: a filter that is not understood must not give everything."""
        for name in self._values:
            if name not in known:
                raise UnsupportedParameterError(name[:100], f"Known here: {', '.join(known)}.")

    def texts(self, name: str) -> list[str]:
        """A list, each value once."""
        return list(dict.fromkeys(self._values.get(name, [])))

    def text(self, name: str) -> str | None:
        """A single value."""
        values = self.texts(name)
        if len(values) > 1:
            raise InvalidValueError(name, "one value")
        return values[0] if values else None

    def words(self, name: str, choices: Collection[str]) -> list[str]:
        """A list of some of the choices."""
        values = self.texts(name)
        if not set(values) <= set(choices):
            raise InvalidValueError(name, f"some of {', '.join(choices)}, and a parameter for each")
        return values

    def word(self, name: str, choices: Collection[str]) -> str | None:
        """One of the choices."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise InvalidValueError(name, f"one of {', '.join(choices)}")
        return value

    def flag(self, name: str) -> bool | None:
        """Yes or no."""
        value = self.word(name, ("true", "false"))
        return None if value is None else value == "true"

    def moment(self, name: str) -> int | None:
        """A time in Unix seconds."""
        value = self.text(name)
        if value is not None and not _is_whole(value):
            raise InvalidValueError(name, "a time in whole Unix seconds")
        return None if value is None else int(value)

    def required_moment(self, name: str) -> int:
        """A time in Unix seconds, without which there is no answer."""
        value = self.moment(name)
        if value is None:
            raise MissingParameterError(name)
        return value

    def limit(self, *, usual: int, most: int) -> int:
        """How many are asked for at once."""
        value = self.text("limit")
        if value is None:
            return usual
        if not _is_whole(value) or not 1 <= int(value) <= most:
            raise InvalidValueError("limit", f"a whole number from 1 to {most}")
        return int(value)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


@dataclass(frozen=True)
class Asked:
    """A question: who asks, about which of their organizations, and `ids`, what stands in the path."""

    user: User
    memberships: Sequence[Membership]
    parameters: Parameters
    ids: Mapping[str, str]

    def projects(self) -> "QuerySet[Project]":
        """Those that may be seen, archived ones too: what was used in them was used."""
        organizations = [membership.organization_id for membership in self.memberships]
        return Project.objects.seen_by(self.user).filter(organization__in=organizations)


def ask(user: User, *, organization_id: str, query: Sequence[tuple[str, str]], ids: Mapping[str, str]) -> Asked:
    """A question of `user` about the organization of this id, or about all that they belong to when it is empty.

    Raises NoSuchOrganizationError, and InvalidValueError for a NUL: PostgreSQL holds none, so nothing is called by it.
    """
    for name, value in [*query, *ids.items()]:
        if "\0" in value:
            raise InvalidValueError(name, "text without NUL characters")
    memberships = Membership.objects.filter(user=user)
    if organization_id:
        memberships = memberships.filter(organization__public_id=organization_id)
    found = list(memberships)
    if organization_id and not found:
        raise NoSuchOrganizationError(organization_id)
    return Asked(user=user, memberships=found, parameters=Parameters(query), ids=ids)
