"""Terms of use: published by staff, accepted by people before they and their keys go on."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Project, ServiceAccount, TermsAcceptance, TermsVersion, User
from accounts.services import accept_terms, has_accepted_terms, publish_terms
from apikeys.services import mint_key
from apikeys.verification import digests_of
from usage.policies import load

TEXT = "Be **kind**."


def publish(by: User, *, days: int = 0) -> TermsVersion:
    return publish_terms(english=TEXT, chinese="善待彼此。", in_force_at=timezone.now() + timedelta(days=days), by=by)


def test_it_works(ada: User, ada_client: Client, sam: User) -> None:
    assert ada_client.get("/keys/").status_code == 200
    publish(sam)
    assert ada_client.get("/keys/").headers["Location"] == "/terms/?next=%2Fkeys%2F"
    page = ada_client.get("/terms/?next=/keys/").content.decode()
    assert "Be <strong>kind</strong>." in page
    assert 'value="/keys/"' in page
    accepted = ada_client.post("/terms/1/accept/", {"next": "/keys/"})
    assert accepted.headers["Location"] == "/keys/"
    assert ada_client.get("/keys/").status_code == 200
    assert "You have accepted this version." in ada_client.get("/terms/").content.decode()
    assert list(AuditEvent.objects.values_list("action", flat=True).order_by("at")) == [
        "terms.published",
        "terms.accepted",
    ]


def test_a_key_waits_for_the_acceptance(ada: User, project: Project, sam: User) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    [digest] = digests_of(secret)
    version = publish(sam)
    assert (caller := load(digest)) is not None
    assert caller.owes_terms
    accept_terms(version=version, by=ada)
    assert (caller := load(digest)) is not None
    assert not caller.owes_terms


def test_for_a_program_an_owner_accepts(ada: User, ben: User, project: Project, sam: User) -> None:
    robot = ServiceAccount.objects.create(project=project, name="robot", created_by=ben)
    _key, secret = mint_key(project=project, name="robot", by=ben, service_account=robot)
    [digest] = digests_of(secret)
    version = publish(sam)
    accept_terms(version=version, by=ben)
    assert (caller := load(digest)) is not None
    assert caller.owes_terms
    accept_terms(version=version, by=ada)
    assert (caller := load(digest)) is not None
    assert not caller.owes_terms


def test_a_version_yet_to_come_asks_nothing_but_may_be_accepted(ada: User, ada_client: Client, sam: User) -> None:
    version = publish(sam, days=7)
    assert ada_client.get("/keys/").status_code == 200
    assert has_accepted_terms(ada)
    assert "Accept the terms" in ada_client.get("/terms/").content.decode()
    ada_client.post("/terms/1/accept/")
    TermsVersion.objects.filter(pk=version.pk).update(in_force_at=timezone.now())
    assert has_accepted_terms(ada)


def test_a_new_version_is_asked_for_anew_and_covers_the_older(ada: User, ben: User, sam: User) -> None:
    accept_terms(version=publish(sam), by=ada)
    second = publish(sam)
    assert not has_accepted_terms(ada)
    accept_terms(version=second, by=ben)
    assert has_accepted_terms(ben)
    accept_terms(version=second, by=ben)
    assert TermsAcceptance.objects.filter(user=ben).count() == 1


def test_the_way_out_stays_open(ada_client: Client, sam: User) -> None:
    publish(sam)
    assert ada_client.get("/accounts/logout/").status_code == 200
    refused = ada_client.get("/api/keys/")
    assert (refused.json()["code"], refused["Content-Type"]) == ("terms_not_accepted", "application/problem+json")
    assert "request_id" in refused.json()


def test_whoever_found_a_key_may_say_so_before_they_accept(ada_client: Client, sam: User) -> None:
    publish(sam)
    assert ada_client.get("/keys/found/").status_code == 200
    reported = ada_client.post("/api/leaks/", {"key": "no key of ours", "url": ""}, "application/json")
    assert reported.json().get("code") != "terms_not_accepted"


def test_it_is_read_in_the_language_of_the_page(client: Client, sam: User) -> None:
    publish(sam)
    assert "善待彼此" in client.get("/terms/", headers={"accept-language": "zh-hans"}).content.decode()
    assert client.get("/keys/").headers["Location"].startswith("/accounts/login/")


def test_staff_publish(sam_client: Client, ada_client: Client) -> None:
    form = {"english": TEXT, "chinese": "", "in_force_at": "2030-01-01T00:00"}
    assert ada_client.post("/terms/publish/", form).status_code == 404
    assert sam_client.post("/terms/publish/", {**form, "english": ""}).status_code == 400
    assert sam_client.post("/terms/publish/", form).status_code == 302
    page = sam_client.get("/terms/publish/").content.decode()
    assert TEXT in page
    assert "Not in force yet" in page
    assert TermsVersion.objects.get().number == 1


def test_it_leads_nowhere_else(ada_client: Client, sam: User) -> None:
    publish(sam)
    assert ada_client.post("/terms/1/accept/", {"next": "https://evil.example/"}).headers["Location"] == "/quickstart/"
    assert ada_client.post("/terms/2/accept/").status_code == 404


@pytest.mark.django_db
def test_without_terms_there_is_no_page(client: Client) -> None:
    assert client.get("/terms/").status_code == 404
