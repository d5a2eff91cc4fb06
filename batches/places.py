"""Whose the files and batches are that a key makes, and which of them it sees."""

from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet

from accounts.access import rights_in
from accounts.models import Project
from accounts.roles import Right
from apikeys.models import ApiKey, KeyKind
from common.errors import RevokedKeyError
from usage.policies import Caller

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Place:
    """A key in its project.

    `participant` is the public id of the person whose key it is, if that person does not see what others have there, as
    in a course; else empty.
    """

    project: Project
    key: ApiKey
    participant: str

    def seen(self, rows: "QuerySet[M]") -> "QuerySet[M]":
        """Those of the rows, of files or of batches, that the key sees."""
        rows = rows.filter(project=self.project)
        return rows.filter(participant=self.participant) if self.participant else rows


def place_of(caller: Caller) -> Place:
    """The place of the key that calls.

    Raises RevokedKeyError when it is gone meanwhile.
    """
    key = ApiKey.objects.select_related("project", "created_by").filter(public_id=caller.key_id).first()
    if key is None or key.project is None:
        raise RevokedKeyError
    person = key.created_by if key.kind == KeyKind.PROJECT else None
    sees_all = person is None or Right.SEE_KEYS in rights_in(person, key.project)
    return Place(project=key.project, key=key, participant="" if person is None or sees_all else person.public_id)
