"""Moments that people name: none so late that it cannot be shown."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.models import Project
from common.moments import LATEST, check_nearness

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
