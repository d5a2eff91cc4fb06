"""What one test commits is not there in the next, and what the migrations made is."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from accounts.models import AuditEvent, Organization, User
from accounts.organizations.services import rename_organization
from tests.conftest import person, take_back_what_was_committed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("time", ["once", "again"])
def test_it_works(time: str) -> None:
    """The other finds what the migrations made and nothing else, and leaves rows that one may and may not delete."""
    if time == "once":
        # Of tests that committed by processes of their own and say so nowhere.
        take_back_what_was_committed()
    assert [model for model in apps.get_models() if model._default_manager.exists()] == [Permission, ContentType]
    assert {(model.app_label, model.model) for model in ContentType.objects.all()} >= {
        (model._meta.app_label, model._meta.model_name) for model in apps.get_models()
    }
    assert {permission.codename for permission in Permission.objects.all()} >= {"view_user", "delete_hostedmodel"}
    ada = person("Ada")
    rename_organization(organization=Organization.objects.get(), name="Ada's lab", by=ada)
    assert AuditEvent.objects.exists()


def test_nothing_is_left_where_little_was_written() -> None:
    User.objects.create_user("ada@example.com")
    take_back_what_was_committed()
    assert not User.objects.exists()
