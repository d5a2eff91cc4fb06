"""Moments that people name: none so late that it cannot be shown."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.invitations.links import create_join_link
from accounts.models import Project, User
from accounts.roles import Role
from accounts.services import publish_terms
from apikeys.models import ApiKey
from apikeys.services import mint_key
from apikeys.terms import Terms
from common.moments import LATEST, check_nearness

REPAIRS = (
    "accounts.migrations.0010_moments_that_can_be_shown",
    "apikeys.migrations.0006_moments_that_can_be_shown",
)
FAR = "9999-12-31T23:59:59Z"


def test_it_works() -> None:
    check_nearness(timezone.now())
    with pytest.raises(ValidationError):
        check_nearness(LATEST)


@pytest.mark.parametrize(
    ("address", "body", "field"),
    [
        ("/api/keys/", {"name": "x", "expires_at": FAR}, "expires_at"),
        ("/api/organizations/{organization}/projects/", {"name": "x", "ends_at": FAR}, "ends_at"),
        ("/api/organizations/{organization}/join-links/", {"name": "x", "most_joins": 3, "ends_at": FAR}, "ends_at"),
        ("/api/organizations/{organization}/cohorts/", {"name": "x", "most_joins": 3, "ends_at": FAR}, "ends_at"),
    ],
)
def test_the_end_of_the_calendar_is_refused(
    ada_client: Client, project: Project, address: str, body: dict[str, Any], field: str
) -> None:
    address = address.format(organization=project.organization.public_id)
    refused = ada_client.post(address, body, content_type="application/json")
    assert refused.status_code == 400
    assert field in [error["field"] for error in refused.json()["errors"]]


def test_forms_refuse_it_as_well(ada_client: Client, project: Project) -> None:
    refused = ada_client.post("/keys/new/", {"name": "x", "expires_at": "9999-12-31T23:59"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (400, ["expires_at"])


def test_what_was_kept_before_anything_was_refused_can_be_shown(
    ada: User, ada_client: Client, project: Project, sam: User
) -> None:
    """The end of the calendar is a day of the year 10,000 east of UTC, where no such day is."""
    end, soon = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), timezone.now() + timedelta(days=1)
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    near, _secret = mint_key(project=project, name="phone", by=ada, terms=Terms(expires_at=soon))
    ApiKey.objects.filter(pk=key.pk).update(expires_at=end)
    Project.objects.filter(pk=project.pk).update(ends_at=end)
    link = create_join_link(
        organization=project.organization, name="course", role=Role.MEMBER, most_joins=3, ends_at=end, by=ada
    )
    terms = publish_terms(english="Be kind.", chinese="", in_force_at=end, by=sam)
    for migration in REPAIRS:
        import_module(migration).bring_nearer(apps, None)
    for row, field in ((key, "expires_at"), (project, "ends_at"), (link, "ends_at"), (terms, "in_force_at")):
        row.refresh_from_db()
        check_nearness(getattr(row, field))
    near.refresh_from_db()
    assert near.expires_at == soon

    ada_client.cookies["tz"] = "Pacific/Kiritimati"
    organization = project.organization.public_id
    for page in ("/keys/", f"/keys/{key.public_id}/", f"/organizations/{organization}/join-links/", "/terms/"):
        assert ada_client.get(page).status_code == 200, page
