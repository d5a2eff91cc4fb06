"""Who may do what in an organization and in its projects."""

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from accounts.access import organization_for, project_for, rights_in, rights_in_organization
from accounts.models import Membership, Organization, Project, ProjectMembership, User
from accounts.roles import IN_PROJECT, NONE, ProjectRole, Right, Role


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def bens(ben: User, organization: Organization) -> Membership:
    """Ben's place in Ada's organization."""
    return organization.memberships.get(user=ben)


def give(membership: Membership, role: Role) -> None:
    membership.role = role
    membership.save(update_fields=["role"])


def test_it_works(ada: User, ben: User, cyd: User, project: Project, bens: Membership) -> None:
    assert rights_in(ada, project) == IN_PROJECT[ProjectRole.ADMIN]
    assert rights_in(ben, project) == IN_PROJECT[ProjectRole.MEMBER]
    assert rights_in(cyd, project) == NONE


@pytest.mark.parametrize(
    ("role", "open_right", "closed_right"),
    [
        (Role.OWNER, Right.MANAGE_KEYS, Right.MANAGE_KEYS),
        (Role.ADMIN, Right.MANAGE_PROJECT, Right.MANAGE_PROJECT),
        (Role.MEMBER, Right.MAKE_KEYS, None),
        (Role.VIEWER, Right.SEE_KEYS, None),
        (Role.BILLING, Right.SEE_USAGE, Right.SEE_USAGE),
        (Role.GUEST, None, None),
    ],
)
def test_a_closed_project_keeps_out_who_was_not_added(
    ben: User, project: Project, bens: Membership, role: Role, open_right: Right | None, closed_right: Right | None
) -> None:
    give(bens, role)
    for is_open, right in ((True, open_right), (False, closed_right)):
        project.is_open = is_open
        project.save()
        rights = rights_in(ben, project)
        assert (right in rights) if right else (rights == NONE)
        # What a person sees in lists is what they may fetch.
        assert Project.objects.for_member(ben).filter(pk=project.pk).exists() == bool(rights)


def test_a_place_in_the_project_adds_to_that_in_the_organization(ben: User, project: Project, bens: Membership) -> None:
    give(bens, Role.GUEST)
    place = ProjectMembership.objects.create(project=project, membership=bens, role=ProjectRole.PARTICIPANT)
    assert rights_in(ben, project) == IN_PROJECT[ProjectRole.PARTICIPANT]
    give(bens, Role.BILLING)
    assert rights_in(ben, project) == IN_PROJECT[ProjectRole.PARTICIPANT] | {Right.SEE_USAGE}
    bens.delete()
    assert rights_in(ben, project) == NONE
    assert not ProjectMembership.objects.filter(pk=place.pk).exists()


def test_a_place_in_one_project_says_nothing_of_another(ben: User, project: Project, bens: Membership) -> None:
    give(bens, Role.GUEST)
    ProjectMembership.objects.create(project=project, membership=bens, role=ProjectRole.ADMIN)
    other = Project.objects.create(organization=project.organization, name="Other")
    assert rights_in(ben, other) == NONE
    assert list(Project.objects.seen_by(ben).filter(organization=project.organization)) == [project]


def test_a_project_is_found_once_with_the_role_of_who_asks(
    ada: User, ben: User, project: Project, bens: Membership
) -> None:
    give(bens, Role.BILLING)
    for role in (ProjectRole.ADMIN, ProjectRole.VIEWER):
        closed = Project.objects.create(organization=project.organization, name=role, is_open=False)
        ProjectMembership.objects.create(project=closed, membership=bens, role=role)
    for user, roles in ((ada, {Role.OWNER}), (ben, {Role.BILLING})):
        found = Project.objects.for_member(user).filter(organization=project.organization)
        assert len(found) == len(set(found)) == 3
        assert {getattr(one, "role_of_user", None) for one in found} == roles


def test_an_archived_project_is_not_worked_in(ada: User, project: Project) -> None:
    Project.objects.create(organization=project.organization, name="Other")
    project.archived_at = project.created_at
    project.save()
    assert [one.name for one in Project.objects.for_member(ada)] == ["Other"]
    assert Project.objects.seen_by(ada).count() == 2


def test_only_an_owner_owns(ada: User, ben: User, organization: Organization, bens: Membership) -> None:
    assert Right.OWN in rights_in_organization(ada, organization)
    give(bens, Role.ADMIN)
    rights = rights_in_organization(ben, organization)
    assert Right.MANAGE_PEOPLE in rights
    assert Right.OWN not in rights


def test_a_stranger_cannot_tell_it_from_nothing(cyd: User, ada: User, project: Project) -> None:
    with pytest.raises(Http404):
        project_for(cyd, project.public_id)
    with pytest.raises(Http404):
        organization_for(cyd, project.organization.public_id)
    with pytest.raises(Http404):
        organization_for(cyd, "org_of_nobody")


def test_a_member_is_told_what_they_may_not(ben: User, project: Project, bens: Membership) -> None:
    assert project_for(ben, project.public_id, to=Right.MAKE_KEYS) == project
    with pytest.raises(PermissionDenied):
        project_for(ben, project.public_id, to=Right.MANAGE_PROJECT)
    with pytest.raises(PermissionDenied):
        organization_for(ben, project.organization.public_id, to=Right.MANAGE_PEOPLE)
