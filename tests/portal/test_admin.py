"""Django's admin: every model of ours in it, and no secret on any page of it."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.test import Client

from accounts.models import Project, User
from apikeys.services import mint_key
from catalog.models import Backend
from tests.pages import build_world

OURS = {
    "accounts",
    "apikeys",
    "catalog",
    "community",
    "forum",
    "notifications",
    "playground",
    "search",
    "usage",
    "webhooks",
}
# What is edited on the page of something else, or holds nothing to look at.
WITHIN_OTHERS = {
    "accounts.membership",
    "accounts.operatorinvitation",
    "accounts.projectmembership",
    "catalog.modelalias",
    "community.postrevision",
}


def models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def test_every_model_is_there() -> None:
    missing = {model._meta.label_lower for model in models() if not admin.site.is_registered(model)}
    assert missing == WITHIN_OTHERS


@pytest.fixture
def secrets(ada: User, cyd: User, sam: User, project: Project) -> list[str]:
    """Something of every kind, and what must stand on no page of the admin."""
    build_world(ada=ada, cyd=cyd, sam=sam)
    key, secret = mint_key(project=project, name="laptop", by=ada)
    Backend.objects.filter(name="gpu-1").update(credential="a-credential-of-the-backend")
    return [secret, key.secrets.get().digest, "a-credential-of-the-backend", ada.password]


def test_no_page_shows_a_secret(secrets: list[str], sam_client: Client) -> None:
    for model in models():
        if not admin.site.is_registered(model):
            continue
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        listed = sam_client.get(base, {"q": "a"})
        assert listed.status_code == 200, base
        pages = [listed.content.decode()]
        for row in model._default_manager.all()[:2]:
            changed = sam_client.get(f"{base}{row.pk}/change/")
            assert changed.status_code == 200, base
            pages.append(changed.content.decode())
        for secret in secrets:
            assert not any(secret in page for page in pages), base


def test_a_member_has_no_way_in(ada_client: Client) -> None:
    assert ada_client.get("/admin/").status_code in {302, 403}


@pytest.mark.django_db
def test_a_visitor_signs_in_at_the_portal_itself(client: Client) -> None:
    assert client.get("/admin/login/", follow=True).redirect_chain[-1][0].startswith("/accounts/login/")
