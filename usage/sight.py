"""How much of a project's usage somebody sees: everybody's, or that of their own keys and runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from accounts.access import rights_in_each
from accounts.models import Project, User
from accounts.roles import Right
from apikeys.models import ApiKey


@dataclass(frozen=True, slots=True)
class Sight:
    """A project, and whose calls in it are seen: `own` names a person and their keys; None means everybody's.

    Who `sees_people` may read whose calls they are, and not only with which keys they were made.
    """

    project: Project
    own: tuple[str, tuple[str, ...]] | None = None
    sees_people: bool = False

    def applied(self) -> Q:
        """The condition that keeps what is seen, of the roll-ups and of the ledger alike."""
        condition = Q(project_id=self.project.public_id)
        if self.own is None:
            return condition
        user_id, key_ids = self.own
        return condition & (Q(user_id=user_id) | Q(key_id__in=key_ids))


Sights = Sequence[Sight]


def sights(user: User, projects: Sequence[Project]) -> Sights:
    """What the user sees of each of these projects, in all of which they have a part."""
    rights_in = rights_in_each(user, projects)
    narrow = [project for project, rights in rights_in.items() if Right.SEE_USAGE not in rights]
    own: dict[int, list[str]] = {project.pk: [] for project in narrow}
    if narrow:
        keys = ApiKey.objects.made_by([user.public_id]).filter(project__in=narrow)
        for project_pk, key_id in keys.values_list("project_id", "public_id"):
            own[project_pk].append(key_id)
    return [
        Sight(project, own=(user.public_id, tuple(own[project.pk])))
        if project.pk in own
        else Sight(project, sees_people=Right.SEE_PEOPLE in rights_in[project])
        for project in projects
    ]


def seen_of(sights: Sights) -> Q:
    """The condition that keeps what is seen of all of them."""
    # As one list, for which PostgreSQL plans once however long it is.
    condition = Q(project_id__in=[sight.project.public_id for sight in sights if sight.own is None])
    for sight in sights:
        if sight.own is not None:
            condition |= sight.applied()
    return condition
