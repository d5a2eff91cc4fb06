"""Reading the audit log: on its pages, as a file and over the REST API."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.audit import forget_person, person_token, record
from accounts.auditing import reading
from accounts.models import AuditEvent, Organization, Project, User
from accounts.projects.services import change_service_account, create_service_account
from apikeys.services import mint_key, rotate_key
from common.context import Origin, current_origin, current_request_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def renamed(ada: User, project: Project) -> AuditEvent:
    origin = current_origin.set(Origin(address="192.0.2.7", user_agent="curl/8"))
    request = current_request_id.set("req_first")
    record(
        "project.renamed",
        by=ada,
        target=project,
        organization=project.organization,
        label="Evaluation",
        before={"name": "Old name"},
        after={"name": "Evaluation"},
    )
    current_request_id.reset(request)
    current_origin.reset(origin)
    return AuditEvent.objects.get()


def page(client: Client, organization: Organization, **query: str) -> str:
    return client.get(f"/organizations/{organization.public_id}/audit/", query).content.decode()


def file(client: Client, address: str, **query: str) -> str:
    response: Any = client.get(address, query)
    assert response.status_code == 200, response.content

    async def gather() -> bytes:
        return b"".join([part async for part in cast("AsyncIterator[bytes]", response.streaming_content)])

    return async_to_sync(gather)().decode()


def test_it_works(ada_client: Client, organization: Organization, renamed: AuditEvent) -> None:
    body = page(ada_client, organization)
    for said in ("Ada", "192.0.2.7", "curl/8", "req_first", "Old name", "Evaluation", "project.renamed"):
        assert said in body


def test_who_is_not_an_admin_does_not_see_it(
    ben_client: Client, cyd_client: Client, sam_client: Client, organization: Organization, renamed: AuditEvent
) -> None:
    for tail in ("", "log.csv", "log.jsonl"):
        address = f"/organizations/{organization.public_id}/audit/{tail}"
        assert ben_client.get(address).status_code == 403
        assert cyd_client.get(address).status_code == 404
        assert sam_client.get(address).status_code == 404


def test_an_organization_sees_its_own_acts_only(
    ada_client: Client, cyd: User, organization: Organization, renamed: AuditEvent
) -> None:
    theirs = Project.objects.for_member(cyd)[0]
    record("project.renamed", by=cyd, target=theirs, organization=theirs.organization, label="Not for Ada")
    assert "Not for Ada" not in page(ada_client, organization)
    assert "Not for Ada" not in file(ada_client, f"/organizations/{organization.public_id}/audit/log.jsonl")


def test_staff_see_all(sam_client: Client, ada_client: Client, renamed: AuditEvent) -> None:
    body = sam_client.get("/audit/").content.decode()
    assert "Ada" in body
    assert "Personal" in body
    assert ada_client.get("/audit/").status_code == 404
    assert ada_client.get("/audit/log.csv").status_code == 404


def test_who_is_erased_has_no_name(
    ada: User, ben_client: Client, ben: User, organization: Organization, renamed: AuditEvent
) -> None:
    organization.memberships.filter(user=ben).update(role="admin")
    forget_person(ada)
    body = page(ben_client, organization)
    assert "someone who has been erased" in body
    assert "192.0.2.7" not in body
    assert "Ada" not in body.replace("Ada’s", "")


def test_what_nobody_did_the_portal_did_or_a_stranger(sam_client: Client, project: Project) -> None:
    record("project.ended", by=None, target=project)
    assert "The portal itself" in sam_client.get("/audit/").content.decode()
    assert "Somebody not signed in" not in sam_client.get("/audit/").content.decode()
    Client().post("/accounts/login/", {"login": "nobody@example.com", "password": "wrong"})
    assert "Somebody not signed in" in sam_client.get("/audit/").content.decode()


@pytest.mark.parametrize(
    ("query", "is_there"),
    [
        ({"action": "project.renamed"}, False),
        ({"by": "ada"}, True),
        ({"by": "ben"}, False),
        ({"target": "evalu"}, True),
        ({"target": "something else"}, False),
        ({"since": "TODAY", "until": "TODAY"}, True),
        ({"since": "TOMORROW"}, False),
        ({"until": "YESTERDAY"}, False),
        ({"since": "not a day"}, True),
    ],
)
def test_it_is_filtered(
    query: dict[str, str], is_there: bool, ada_client: Client, organization: Organization, renamed: AuditEvent
) -> None:
    days = {"TODAY": 0, "TOMORROW": 1, "YESTERDAY": -1}
    today = timezone.now().date()
    query = {
        name: str(today + timedelta(days=days[value])) if value in days else value for name, value in query.items()
    }
    # An action without words is no choice of the form, and is as if not there.
    assert ("req_first" in page(ada_client, organization, **query)) is (is_there or "action" in query)


@pytest.mark.parametrize(("since", "until"), [("0001-01-01", "9999-12-31"), ("9999-12-31", ""), ("", "0001-01-01")])
def test_any_day_may_be_asked_for(
    ada_client: Client, organization: Organization, renamed: AuditEvent, since: str, until: str
) -> None:
    days = {name: day for name, day in (("since", since), ("until", until)) if day}
    is_there = since != "9999-12-31" and until != "0001-01-01"
    address = f"/organizations/{organization.public_id}/audit/log.jsonl"
    assert (f'"id": "{renamed.pk}"' in file(ada_client, address, **days)) == is_there
    page(ada_client, organization, **days)
    answer = ada_client.get("/api/audit/events/", {"organization": organization.public_id, **days})
    assert bool(answer.json()["data"]) == is_there


def test_it_is_read_from_either_end(ada: User, ada_client: Client, project: Project) -> None:
    organization = project.organization
    for number in range(60):
        record("project.renamed", by=ada, target=project, organization=organization, label=f"{number:02}")
    address = f"/organizations/{organization.public_id}/audit/"

    def read(**query: str) -> list[str]:
        first = ada_client.get(address, query).context["page"]
        second = ada_client.get(address, {**query, "cursor": first.older}).context["page"]
        assert (len(first.items), second.older) == (50, None)
        assert ada_client.get(address, {**query, "cursor": second.newer}).context["page"].items == first.items
        return [event.target_label for event in (*first.items, *second.items)]

    labels = [f"{number:02}" for number in range(60)]
    assert read(sort="oldest", by="ada") == labels
    assert read() == labels[::-1]
    # A file has one order.
    assert f'{address}log.csv?by=ada"' in page(ada_client, organization, sort="oldest", by="ada")


def test_by_a_token(ada: User, ben: User, ada_client: Client, organization: Organization, renamed: AuditEvent) -> None:
    record("project.renamed", by=ben, target=ben, organization=organization)
    body = page(ada_client, organization, by=person_token(ben))
    assert "req_first" not in body
    assert "Ben" in body


@pytest.mark.parametrize(("language", "word"), [("en", "Developer"), ("zh-hans", "开发者")])
def test_who_gave_no_name_is_found_by_the_one_that_is_shown(
    ada: User, ben: User, ada_client: Client, organization: Organization, renamed: AuditEvent, language: str, word: str
) -> None:
    User.objects.filter(pk=ben.pk).update(name="")
    record("member.left", by=ben, target=ben, organization=organization)
    with translation.override(language):
        name = User.objects.get(pk=ben.pk).display_name
    assert word in name

    def found(text: str) -> list[str]:
        asked = {"organization": organization.public_id, "by": text}
        answer = ada_client.get("/api/audit/events/", asked, headers={"Accept-Language": language})
        return [event["action"] for event in answer.json()["data"]]

    for text in (name, word, name[-4:], name[-6:-1].lower()):
        assert found(text) == ["member.left"]
    assert found(ben.public_id[5:12]) == []


def test_members_are_found_by_their_address(
    ada: User, ben: User, ada_client: Client, organization: Organization, renamed: AuditEvent
) -> None:
    record("member.removed", by=None, target=ben, organization=organization)
    assert "req_first" in page(ada_client, organization, by="ADA@example")
    assert "req_first" not in page(ada_client, organization, by="ben@example")
    assert "<td" in page(ada_client, organization, target="ben@example.com")


def test_an_owner_learns_no_address_of_who_is_no_member(
    ada_client: Client, sam: User, sam_client: Client, organization: Organization
) -> None:
    """Staff act in it and are not of it: that a guess of their address finds what they did would confirm it."""
    record("project.renamed", by=sam, target=sam, organization=organization)
    api, whole = {"organization": organization.public_id}, "/api/audit/events/"
    for what in ("by", "target"):
        assert "Nothing found" in page(ada_client, organization, **{what: "sam@example"})
        assert ada_client.get(whole, {**api, what: "sam@example"}).json()["data"] == []
        assert "Nothing found" not in page(ada_client, organization, **{what: "sam"})
        assert sam_client.get("/audit/", {what: "sam@example"}).context["entries"]
        assert len(sam_client.get(whole, {what: "sam@example"}).json()["data"]) >= 1


@pytest.mark.parametrize("words", ["lapt", "HINT", "LAST"])
def test_a_key_is_found_by_its_name_and_hint(
    words: str, ada: User, ada_client: Client, cyd: User, project: Project, organization: Organization
) -> None:
    key, _secret = mint_key(project=project, name="Laptop", by=ada)
    mint_key(project=project, name="Server", by=ada)
    theirs, _secret = mint_key(project=cyd.organizations.get().projects.get(), name="Laptop", by=cyd)
    # Names lead nobody to what is another organization's, should its events ever stand in this log.
    record("key.changed", by=ada, target=theirs, organization=organization)
    hint, last4 = key.hint, key.last4
    rotate_key(key=key, overlap=timedelta(), by=ada)
    asked = {"HINT": hint, "LAST": last4}.get(words, words)
    found = ada_client.get("/api/audit/events/", {"organization": organization.public_id, "target": asked}).json()
    assert {event["target"] for event in found["data"]} == {key.public_id}
    assert {event["action"] for event in found["data"]} == {"key.created", "key.rotated"}
    assert key.public_id in page(ada_client, organization, target=asked)


def test_a_service_account_is_found_by_what_it_is_called_now(
    ada: User, ada_client: Client, project: Project, organization: Organization
) -> None:
    account = create_service_account(project=project, name="nightly", description="", by=ada)
    change_service_account(account=account, name="weekly", description="", by=ada)
    found = ada_client.get("/api/audit/events/", {"organization": organization.public_id, "target": "weekly"}).json()
    assert {event["action"] for event in found["data"]} == {"service_account.created", "service_account.changed"}


def test_it_costs_the_same_however_long_it_is(
    ada: User, ada_client: Client, organization: Organization, project: Project, renamed: AuditEvent
) -> None:
    # Session, user, standing; organization, membership; events, people, origins, organizations; of the frame: the
    # projects to switch between, unread notifications.
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(ada_client, organization)
    for _number in range(60):
        record("project.renamed", by=ada, target=project, organization=organization)
    with CaptureQueriesContext(connection) as many:
        body = page(ada_client, organization)
    assert len(many) == len(few) == 11
    assert "cursor=" in body


def test_the_file_is_safe_in_a_spreadsheet(
    ada: User, ada_client: Client, organization: Organization, project: Project
) -> None:
    record("project.renamed", by=ada, target=project, organization=organization, label='=HYPERLINK("http://evil")')
    text = file(ada_client, f"/organizations/{organization.public_id}/audit/log.csv")
    (row,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    assert row["target_name"] == '\'=HYPERLINK("http://evil")'
    assert row["by_user"] == ada.public_id


def test_a_file_is_written_in_portions(ada_client: Client, organization: Organization) -> None:
    AuditEvent.objects.bulk_create(
        AuditEvent(
            action="project.renamed",
            organization_id=organization.public_id,
            target_kind="project",
            target_id=str(number),
        )
        for number in range(reading.CHUNK + 1)
    )
    assert [len(chunk) for chunk in reading.chunks(AuditEvent.objects.all())] == [reading.CHUNK, 1]
    text = file(ada_client, f"/organizations/{organization.public_id}/audit/log.jsonl")
    targets = [int(json.loads(line)["target"]) for line in text.splitlines()]
    assert sorted(targets) == list(range(reading.CHUNK + 1))


@pytest.mark.django_db(transaction=True)
def test_a_slow_reader_keeps_no_connection(ada_client: Client, organization: Organization) -> None:
    record("project.renamed", by=None, target=organization, organization=organization)
    response: Any = ada_client.get(f"/organizations/{organization.public_id}/audit/log.csv")
    parts = cast("AsyncIterator[bytes]", response.streaming_content)

    async def two() -> list[bytes]:
        return [await anext(parts), await anext(parts)]

    assert b"project.renamed" in async_to_sync(two)()[1]
    assert connection.connection is None


def test_there_is_no_other_kind_of_file(ada_client: Client, organization: Organization) -> None:
    assert ada_client.get(f"/organizations/{organization.public_id}/audit/log.xml").status_code == 404


def test_over_the_api(
    ada: User, ada_client: Client, sam_client: Client, organization: Organization, renamed: AuditEvent
) -> None:
    answer = ada_client.get("/api/audit/events/", {"organization": organization.public_id}).json()
    (event,) = answer["data"]
    assert (event["action"], event["by_user"], event["address"]) == ("project.renamed", ada.public_id, "192.0.2.7")
    assert event["before"] == {"name": "Old name"}
    assert len(sam_client.get("/api/audit/events/").json()["data"]) == 1
    text = file(ada_client, "/api/audit/events.jsonl", organization=organization.public_id)
    assert json.loads(text)["id"] == str(renamed.pk)


def test_the_api_refuses_as_the_pages_do(
    ada_client: Client, ben_client: Client, cyd_client: Client, client: Client, organization: Organization
) -> None:
    def status(who: Client, **query: Any) -> int:
        return who.get("/api/audit/events/", query).status_code

    assert status(client, organization=organization.public_id) == 401
    assert status(ben_client, organization=organization.public_id) == 403
    assert status(cyd_client, organization=organization.public_id) == 404
    assert status(ada_client) == 400
    assert status(ada_client, organization=organization.public_id, since="soon") == 400
