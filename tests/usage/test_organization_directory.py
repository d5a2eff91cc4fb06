"""What the ids in the reports of `/v1/organization` are called, and who is told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Membership, Project, User
from accounts.projects.services import archive_project, open_service_account, set_place
from accounts.roles import ProjectRole, Role
from apikeys.services import mint_key, revoke_key
from common.errors import InvalidRequestError, InvalidValueError, NotFoundError
from tests.conftest import person
from usage.organization.asked import ask
from usage.organization.routes import ROUTES

pytestmark = pytest.mark.django_db

KEYS = "projects/{project_id}/api_keys"


def get(path: str, user: User, *, project_id: str = "", organization: str = "", **given: object) -> dict[str, Any]:
    query = [(name, str(value)) for name, value in given.items()]
    return ROUTES[path](ask(user, organization_id=organization, query=query, ids={"project_id": project_id}))


def names(answer: dict[str, Any]) -> list[str]:
    return [row["name"] for row in answer["data"]]


def test_it_works(ada: User, project: Project) -> None:
    project.created_at = datetime(2026, 3, 1, tzinfo=UTC)
    project.save()
    own = {
        "object": "organization.project",
        "id": project.public_id,
        "name": project.name,
        "created_at": 1772323200,
        "archived_at": None,
        "status": "active",
    }
    assert get("projects", ada) == {
        "object": "list",
        "data": [own],
        "first_id": project.public_id,
        "last_id": project.public_id,
        "has_more": False,
    }
    assert get("projects/{project_id}", ada, project_id=project.public_id) == own


def test_archived_projects_are_told_when_asked_for(ada: User, project: Project) -> None:
    old = Project.objects.create(organization=project.organization, name="Last year")
    archive_project(project=old, by=ada)
    assert names(get("projects", ada)) == [project.name]
    assert names(get("projects", ada, include_archived="true")) == [project.name, "Last year"]
    answer = get("projects/{project_id}", ada, project_id=old.public_id)
    assert answer["status"] == "archived"
    assert answer["archived_at"] >= answer["created_at"]


def test_lists_come_page_by_page(ada: User, project: Project) -> None:
    for number in range(4):
        Project.objects.create(organization=project.organization, name=f"P{number}")
    first = get("projects", ada, limit=3)
    assert (names(first), first["has_more"]) == ([project.name, "P0", "P1"], True)
    second = get("projects", ada, limit=3, after=first["last_id"])
    assert (names(second), second["has_more"]) == (["P2", "P3"], False)
    for wrong in ({"limit": 0}, {"limit": 101}, {"after": "proj_unknown"}, {"order": "asc"}):
        with pytest.raises(InvalidRequestError):
            get("projects", ada, **wrong)


def test_keys_tell_whose_they_are_and_no_secret(ada: User, ben: User, project: Project) -> None:
    laptop, secret = mint_key(project=project, name="laptop", by=ben)
    account = open_service_account(project=project, name="Nightly", by=ada)
    mint_key(project=project, name="job", by=ada, service_account=account)
    revoke_key(key=mint_key(project=project, name="old", by=ada)[0], by=ada)
    answer = get(KEYS, ada, project_id=project.public_id)
    assert secret not in str(answer)
    bens, jobs = answer["data"]
    assert bens == {
        "object": "organization.project.api_key",
        "id": laptop.public_id,
        "name": "laptop",
        "redacted_value": laptop.hint,
        "created_at": int(laptop.created_at.timestamp()),
        "last_used_at": None,
        "owner_project_access": "active",
        "owner": {
            "type": "user",
            "user": {
                "id": ben.public_id,
                "name": "Ben",
                "email": ben.email,
                "created_at": int(ben.date_joined.timestamp()),
                "role": "member",
            },
        },
    }
    assert (jobs["owner"]["type"], jobs["owner"]["service_account"]["name"]) == ("service_account", "Nightly")
    # Of people's addresses others learn nothing.
    assert get(KEYS, ben, project_id=project.public_id)["data"][0]["owner"]["user"]["email"] == ""


def test_a_key_whose_maker_has_left_says_so(ada: User, ben: User, project: Project) -> None:
    mint_key(project=project, name="laptop", by=ben)
    Membership.objects.filter(user=ben, organization=project.organization).delete()
    (row,) = get(KEYS, ada, project_id=project.public_id)["data"]
    assert row["owner_project_access"] == "inactive"
    ben.delete()
    (row,) = get(KEYS, ada, project_id=project.public_id)["data"]
    assert (row["owner_project_access"], row["owner"]) == ("inactive", {"type": "user"})


def test_users_are_the_people_of_ones_organizations(ada: User, ben: User, cyd: User, project: Project) -> None:
    answer = get("users", ada)
    membership = Membership.objects.get(user=ben, organization=project.organization)
    assert [(row["name"], row["role"]) for row in answer["data"]] == [("Ada", "owner"), ("Ben", "reader")]
    assert answer["data"][1] == {
        "object": "organization.user",
        "id": ben.public_id,
        "name": "Ben",
        "email": ben.email,
        "role": "reader",
        "added_at": int(membership.created_at.timestamp()),
    }
    # Ben owns an organization of his own besides, where Ada is not.
    as_ben = get("users", ben)["data"]
    assert [(row["name"], row["email"], row["role"]) for row in as_ben] == [
        ("Ada", None, "owner"),
        ("Ben", ben.email, "owner"),
    ]
    there = get("users", ben, organization=project.organization.public_id)["data"]
    assert [(row["name"], row["email"], row["role"]) for row in there] == [
        ("Ada", None, "owner"),
        ("Ben", None, "reader"),
    ]


@pytest.mark.parametrize(
    ("role", "projects", "keys", "people"),
    [
        (Role.OWNER, 1, 2, True),
        (Role.ADMIN, 1, 2, True),
        (Role.MEMBER, 1, 2, True),
        (Role.VIEWER, 1, 2, True),
        (Role.BILLING, 1, 0, False),
        (Role.GUEST, 1, 1, False),
        (None, 0, None, False),
    ],
)
def test_each_role_is_told_what_its_pages_show(
    ada: User, project: Project, role: Role | None, projects: int, keys: int | None, people: bool
) -> None:
    """A guest here takes part in the project, and has a key there."""
    user = person("Eve")
    mint_key(project=project, name="ada's", by=ada)
    mint_key(project=project, name="eve's" if role is Role.GUEST else "another", by=user if role is Role.GUEST else ada)
    if role:
        place = Membership.objects.create(organization=project.organization, user=user, role=role)
        if role is Role.GUEST:
            set_place(project=project, membership=place, role=ProjectRole.PARTICIPANT, by=ada)
    seen = [row for row in get("projects", user)["data"] if row["id"] == project.public_id]
    assert len(seen) == projects
    if keys is None:
        for path in (KEYS, "projects/{project_id}"):
            with pytest.raises(NotFoundError):
                get(path, user, project_id=project.public_id)
    else:
        assert len(get(KEYS, user, project_id=project.public_id)["data"]) == keys
    assert ("Ada" in names(get("users", user))) == people
    assert "Eve" in names(get("users", user))


@pytest.mark.parametrize("identifier", ["proj_unknown", ""])
def test_what_is_not_there_is_not_found(ada: User, identifier: str) -> None:
    with pytest.raises(NotFoundError):
        get("projects/{project_id}", ada, project_id=identifier)


def test_an_id_that_no_text_can_be_is_refused(ada: User) -> None:
    with pytest.raises(InvalidValueError):
        get("projects/{project_id}", ada, project_id="a\0b")


def test_lists_cost_the_same_however_long(ada: User, project: Project, django_assert_num_queries: Any) -> None:
    for number in range(3):
        member = person(f"Member{number}")
        Membership.objects.create(organization=project.organization, user=member, role=Role.MEMBER)
        mint_key(project=project, name="laptop", by=member)
    with django_assert_num_queries(2):  # where one belongs to, the projects
        get("projects", ada)
    with django_assert_num_queries(5):  # where one belongs to, the project, one's rights, the keys, makers' rights
        get(KEYS, ada, project_id=project.public_id)
    with django_assert_num_queries(3):  # where one belongs to, the people, their places
        get("users", ada)
