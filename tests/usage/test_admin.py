"""The ledger in the admin: found by what a developer quotes, and never edited."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Project
from tests.usage.ledger import add_call, add_usage
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db


def test_it_works(sam_client: Client, project: Project) -> None:
    quoted = add_call(project, timezone.now(), error_code="upstream_timeout", status=504)
    add_call(project, timezone.now())
    found = sam_client.get(reverse("admin:usage_usageevent_changelist"), {"q": quoted.request_id})
    assert [row.pk for row in found.context["cl"].result_list] == [quoted.pk]
    page = sam_client.get(reverse("admin:usage_usageevent_change", args=[quoted.pk]))
    assert "upstream_timeout" in page.content.decode()


@pytest.mark.parametrize("model", ["usagerollup5min", "usagerollup15min"])
def test_sums_are_listed(sam_client: Client, project: Project, model: str, django_assert_max_num_queries: Any) -> None:
    add_usage(project, timezone.now())
    with django_assert_max_num_queries(6):  # session, user; the count, whether it is filtered; the rows
        page = sam_client.get(reverse(f"admin:usage_{model}_changelist"))
    assert project.public_id in page.content.decode()


def test_nobody_edits_the_ledger(sam_client: Client, project: Project) -> None:
    call = add_call(project, timezone.now())
    for name, arguments in (("change", [call.pk]), ("delete", [call.pk]), ("add", [])):
        assert sam_client.post(reverse(f"admin:usage_usageevent_{name}", args=arguments)).status_code == 403
    listing = reverse("admin:usage_usageevent_changelist")
    sam_client.post(listing, {"action": "delete_selected", "_selected_action": [call.pk], "post": "yes"})
    assert UsageEvent.objects.filter(pk=call.pk).exists()


def test_it_is_for_staff(ada_client: Client) -> None:
    assert ada_client.get(reverse("admin:usage_usageevent_changelist")).status_code == 302
