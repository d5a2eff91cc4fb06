"""`/v1/organization/projects` and `/users`: what the ids in the reports are called, in OpenAI's shape."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from accounts.access import organizations_where, rights_in, rights_of_each
from accounts.models import Membership, Project, User
from accounts.roles import NONE, Right, Rights, Role
from apikeys.models import ApiKey
from common.errors import InvalidValueError, NotFoundError
from usage.organization.asked import Asked, Parameters

M = TypeVar("M", bound=Model)

USUAL, MOST = 20, 100


def projects(asked: Asked) -> dict[str, Any]:
    """The projects that are seen, the oldest first."""
    given = asked.parameters
    given.refuse_all_but(("limit", "after", "include_archived"))
    found = asked.projects()
    if not given.flag("include_archived"):
        found = found.filter(archived_at=None)
    return _listed(found, given, lambda page: [_described(project) for project in page])


def project(asked: Asked) -> dict[str, Any]:
    """One of them, archived or not."""
    asked.parameters.refuse_all_but(())
    return _described(_project(asked))


def keys(asked: Asked) -> dict[str, Any]:
    """The keys of a project that are not revoked; one's own where one does not see everybody's."""
    given = asked.parameters
    given.refuse_all_but(("limit", "after"))
    place = _project(asked)
    found = ApiKey.objects.unrevoked().for_keys_page(place, asked.user, rights_in(asked.user, place))
    return _listed(found, given, lambda page: _described_keys(page, place, asked))


def users(asked: Asked) -> dict[str, Any]:
    """The people of the organizations in which one sees them, and oneself."""
    given = asked.parameters
    given.refuse_all_but(("limit", "after"))
    seen = Membership.objects.filter(
        Q(organization__in=organizations_where(Right.SEE_PEOPLE, asked.memberships))
        | Q(pk__in=[one.pk for one in asked.memberships])
    )
    found = User.objects.filter(pk__in=seen.values("user"))
    return _listed(found, given, lambda page: _described_users(page, seen.filter(user__in=page), asked))


def _project(asked: Asked) -> Project:
    identifier = asked.ids["project_id"]
    found = asked.projects().filter(public_id=identifier).first()
    if found is None:
        raise NotFoundError(f"No such project: {identifier[:40]!r}.", param="project_id")
    return found


def _listed(
    rows: "QuerySet[M]", given: Parameters, describe: Callable[[Sequence[M]], Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """A page of rows that have a public id, in the order in which they were made."""
    limit = given.limit(usual=USUAL, most=MOST)
    if after := given.text("after"):
        last = rows.filter(public_id=after).first()
        if last is None:
            raise InvalidValueError("after", "the last_id of an earlier page")
        rows = rows.filter(pk__gt=last.pk)
    found = list(rows.order_by("pk")[: limit + 1])
    data = describe(found[:limit])
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }


def _described(project: Project) -> dict[str, Any]:
    return {
        "object": "organization.project",
        "id": project.public_id,
        "name": project.display_name,
        "created_at": _seconds(project.created_at),
        "archived_at": project.archived_at and _seconds(project.archived_at),
        "status": "archived" if project.archived_at else "active",
    }


def _described_keys(page: Sequence[ApiKey], project: Project, asked: Asked) -> list[dict[str, Any]]:
    makers = [key.created_by for key in page if key.created_by]
    rights = rights_of_each(makers, project)
    sees_addresses = project.organization_id in organizations_where(Right.MANAGE_PEOPLE, asked.memberships)
    return [
        {
            "object": "organization.project.api_key",
            "id": key.public_id,
            "name": key.name,
            "redacted_value": key.hint,
            "created_at": _seconds(key.created_at),
            "last_used_at": key.last_used_at and _seconds(key.last_used_at),
            "owner_project_access": "active" if key.goes_on else "inactive",
            "owner": _owner(key, rights, sees_addresses=sees_addresses),
        }
        for key in page
    ]


def _owner(key: ApiKey, rights: Mapping[int, Rights], *, sees_addresses: bool) -> dict[str, Any]:
    if account := key.service_account:
        described = {
            "id": account.public_id,
            "name": account.name,
            "created_at": _seconds(account.created_at),
            "role": "member",
        }
        return {"type": "service_account", "service_account": described}
    maker = key.created_by
    if maker is None:
        return {"type": "user"}
    manages = Right.MANAGE_PROJECT in rights.get(maker.pk, NONE)
    described = {
        "id": maker.public_id,
        "name": maker.display_name,
        # The published type knows no null here.
        "email": maker.email if sees_addresses else "",
        "created_at": _seconds(maker.date_joined),
        "role": "owner" if manages else "member",
    }
    return {"type": "user", "user": described}


def _described_users(page: Sequence[User], memberships: "QuerySet[Membership]", asked: Asked) -> list[dict[str, Any]]:
    managed = organizations_where(Right.MANAGE_PEOPLE, asked.memberships)
    places: dict[int, list[Membership]] = {user.pk: [] for user in page}
    for membership in memberships.order_by("created_at"):
        places[membership.user_id].append(membership)
    return [
        {
            "object": "organization.user",
            "id": user.public_id,
            "name": user.display_name,
            "email": user.email if any(one.organization_id in managed for one in places[user.pk]) else None,
            "role": "owner" if any(one.role == Role.OWNER for one in places[user.pk]) else "reader",
            "added_at": _seconds(places[user.pk][0].created_at),
        }
        for user in page
    ]


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
