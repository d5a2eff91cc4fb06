"""Who may fetch what: views reach organizations and projects through here only."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Model, OuterRef, Q, Subquery
from django.db.models.lookups import In
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django_htmx.middleware import HtmxDetails

from accounts.models import (
    Cohort,
    Invitation,
    JoinLink,
    Membership,
    Organization,
    Project,
    ProjectMembership,
    ServiceAccount,
    User,
)
from accounts.roles import (
    IN_EVERY_PROJECT,
    IN_OPEN_PROJECTS,
    IN_ORGANIZATION,
    IN_PROJECT,
    NONE,
    ProjectRole,
    Right,
    Rights,
    Role,
)
from accounts.services import open_workspace

P = ParamSpec("P")
M = TypeVar("M", bound=Model)
Answer = TypeVar("Answer", bound=HttpResponseBase)

SESSION_KEY = "project"


class AuthedRequest(HttpRequest):
    """A request of someone signed in, as `login_required` leaves it."""

    user: User
    htmx: HtmxDetails


def staff_required(
    view: Callable[Concatenate[AuthedRequest, P], Answer],
) -> Callable[Concatenate[AuthedRequest, P], Answer]:
    """A page of the operator's: who is signed out signs in first, who is not staff cannot tell that it exists."""

    @login_required
    @wraps(view)
    def guarded(request: AuthedRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if not request.user.is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


def rights_in_organization(user: User, organization: Organization) -> Rights:
    """What the user may do in the organization as a whole; nothing for a stranger."""
    membership = Membership.objects.filter(organization=organization, user=user).first()
    return IN_ORGANIZATION[Role(membership.role)] if membership else NONE


def organizations_where(right: Right, memberships: Iterable[Membership]) -> list[int]:
    """Primary keys of the organizations in which one of the memberships gives the right."""
    return [one.organization_id for one in memberships if right in IN_ORGANIZATION[Role(one.role)]]


def rights_in(user: User, project: Project) -> Rights:
    """What the user may do in the project; nothing for somebody who has no part in it."""
    memberships = Membership.objects.filter(organization_id=project.organization_id, user=user)
    roles = memberships.values_list("role", own_role(project)).first()
    return _rights(project, *roles) if roles else NONE


def rights_in_each(user: User, projects: Sequence[Project]) -> dict[Project, Rights]:
    """What the user may do in each of the projects, in two queries however many they are."""
    memberships = Membership.objects.filter(user=user, organization__in={one.organization_id for one in projects})
    roles = dict(memberships.values_list("organization_id", "role"))
    places = ProjectMembership.objects.filter(membership__user=user, project__in=projects)
    project_roles = dict(places.values_list("project_id", "role"))
    return {
        project: _rights(project, roles[project.organization_id], project_roles.get(project.pk))
        if project.organization_id in roles
        else NONE
        for project in projects
    }


def rights_of_each(users: Collection[User], project: Project) -> dict[int, Rights]:
    """What each of the users may do in the project, by primary key; who has no part in it is left out. One query."""
    memberships = Membership.objects.filter(organization_id=project.organization_id, user__in=users)
    places = memberships.values_list("user_id", "role", own_role(project))
    return {user_pk: _rights(project, role, project_role) for user_pk, role, project_role in places}


def _rights(project: Project, role: str, project_role: str | None) -> Rights:
    rights = IN_EVERY_PROJECT.get(Role(role), NONE)
    if project.is_open:
        rights |= IN_OPEN_PROJECTS.get(Role(role), NONE)
    return rights | IN_PROJECT[ProjectRole(project_role)] if project_role else rights


def has_right(right: Right, *, user: str, project: str | Project) -> Q:
    """The condition that a row's `user` has the right in its `project`, which are names of fields; as `rights_in`.

    Where all rows are of one project and it is given, who has the right there is read once.
    """
    everywhere, in_open, in_project = (
        [role for role, rights in table.items() if right in rights]
        for table in (IN_EVERY_PROJECT, IN_OPEN_PROJECTS, IN_PROJECT)
    )
    if isinstance(project, Project):
        roles = [*everywhere, *(in_open if project.is_open else ())]
        members = Membership.objects.filter(organization=project.organization_id, role__in=roles)
        placed = ProjectMembership.objects.filter(project=project, role__in=in_project)
        of_members, of_placed = members.values("user"), placed.values("membership__user")
        return Q(**{f"{user}__in": of_members}) | Q(**{f"{user}__in": of_placed})
    memberships = Membership.objects.filter(user=OuterRef(user), organization=OuterRef(f"{project}__organization"))
    places = ProjectMembership.objects.filter(membership__user=OuterRef(user), project=OuterRef(project))
    # Roles, and not whether one exists: of that PostgreSQL would read the members of the whole portal at once.
    role, role_in_project = Subquery(memberships.values("role")[:1]), Subquery(places.values("role")[:1])
    return (
        Q(In(role, everywhere))
        | Q(In(role, in_open), **{f"{project}__is_open": True})
        | Q(In(role_in_project, in_project))
    )


def own_role(project: Project) -> Subquery:
    """A membership's role in the project, for annotating memberships; null when it has none of its own."""
    places = ProjectMembership.objects.filter(project=project, membership=OuterRef("pk"))
    return Subquery(places.values("role")[:1])


def organization_for(user: User, public_id: str, *, to: Right = Right.SEE) -> Organization:
    """An organization the user belongs to and in which they have the right `to`.

    Raises Http404 for strangers, who cannot tell it from one that is not, and PermissionDenied without the right.
    """
    organization = Organization.objects.filter(public_id=public_id).first()
    return _permitted(organization, rights_in_organization(user, organization) if organization else NONE, to)


def project_for(user: User, public_id: str, *, to: Right = Right.SEE) -> Project:
    """A project the user has a part in, and in which they have the right `to`.

    Raises Http404 for strangers, who cannot tell it from one that is not, and PermissionDenied without the right.
    """
    project = Project.objects.select_related("organization").filter(public_id=public_id).first()
    return _permitted(project, rights_in(user, project) if project else NONE, to)


def membership_for(user: User, organization_id: str, member_id: str, *, to: Right = Right.SEE_PEOPLE) -> Membership:
    """The place of the person `member_id` in an organization in which the user has the right `to`; one's own always.

    Raises Http404 for strangers and for who is no member, and PermissionDenied without the right.
    """
    is_own = member_id == user.public_id
    organization = organization_for(user, organization_id, to=Right.SEE if is_own else to)
    member = (
        Membership.objects.filter(organization=organization, user__public_id=member_id).select_related("user").first()
    )
    if member is None:
        raise Http404
    member.organization = organization
    return member


def place_for(user: User, project_id: str, member_id: str, *, to: Right = Right.SEE_PEOPLE) -> ProjectMembership:
    """The place of the person `member_id` in a project in which the user has the right `to`.

    Raises Http404 for strangers and for who has no place there, and PermissionDenied without the right.
    """
    project = project_for(user, project_id, to=to)
    places = ProjectMembership.objects.filter(project=project, membership__user__public_id=member_id)
    place = places.select_related("membership__user").first()
    if place is None:
        raise Http404
    place.project = project
    return place


def service_account_for(user: User, public_id: str, *, to: Right = Right.SEE_KEYS) -> ServiceAccount:
    """A service account of a project in which the user has the right `to`; one that was removed is not found.

    Raises Http404 for strangers, and PermissionDenied without the right.
    """
    accounts = ServiceAccount.objects.select_related("project__organization")
    account = accounts.filter(public_id=public_id, removed_at=None).first()
    return _permitted(account, rights_in(user, account.project) if account else NONE, to)


def managed_project(user: User, public_id: str) -> Project:
    """A project of an organization that the user manages: what it may use is not for its own admins to say.

    Raises Http404 for strangers, and PermissionDenied without the right.
    """
    project = project_for(user, public_id)
    organization_for(user, project.organization.public_id, to=Right.MANAGE_ORGANIZATION)
    return project


def may_limit(user: User, project: Project) -> bool:
    """Whether the user says what the project may use, as `managed_project` asks for."""
    return Right.MANAGE_ORGANIZATION in rights_in_organization(user, project.organization)


def managed_member(user: User, organization_id: str, member_id: str) -> Membership:
    """A member of an organization that the user manages.

    Raises Http404 for strangers and for who is no member, and PermissionDenied without the right.
    """
    organization_for(user, organization_id, to=Right.MANAGE_ORGANIZATION)
    return membership_for(user, organization_id, member_id)


def invitation_for(user: User, public_id: str, *, to: Right = Right.MANAGE_PEOPLE) -> Invitation:
    """A pending invitation to an organization in which the user has the right `to`.

    Raises Http404 for strangers, and PermissionDenied without the right.
    """
    invitation = Invitation.objects.pending().select_related("organization").filter(public_id=public_id).first()
    return _permitted(invitation, rights_in_organization(user, invitation.organization) if invitation else NONE, to)


def join_link_for(user: User, public_id: str, *, to: Right = Right.MANAGE_PEOPLE) -> JoinLink:
    """A join link of an organization in which the user has the right `to`.

    Raises Http404 for strangers, and PermissionDenied without the right.
    """
    link = JoinLink.objects.select_related("organization", "project").filter(public_id=public_id).first()
    return _permitted(link, rights_in_organization(user, link.organization) if link else NONE, to)


def cohort_for(user: User, public_id: str, *, to: Right = Right.MANAGE_PEOPLE) -> Cohort:
    """A cohort of an organization in which the user has the right `to`.

    Raises Http404 for strangers, and PermissionDenied without the right.
    """
    cohorts = Cohort.objects.select_related("project__organization", "join_link")
    cohort = cohorts.filter(public_id=public_id).first()
    return _permitted(cohort, rights_in_organization(user, cohort.project.organization) if cohort else NONE, to)


def require(user: User, project: Project, right: Right) -> Project:
    """The project, when the user has the right in it. Raises PermissionDenied otherwise."""
    if right not in rights_in(user, project):
        raise PermissionDenied
    return project


def _permitted(found: M | None, rights: Rights, to: Right) -> M:
    if found is None or Right.SEE not in rights:
        raise Http404
    if to not in rights:
        raise PermissionDenied
    return found


def current_project(request: AuthedRequest) -> Project:
    """The project the pages are about: the one chosen in this session, else the first of the personal organization.

    A session begins with the one that was chosen last.
    """
    projects = Project.objects.for_member(request.user)
    chosen = request.session.get(SESSION_KEY)
    project = projects.filter(public_id=chosen).first() if chosen else None
    return project or projects.first() or open_workspace(user=request.user)


def choose_project(request: AuthedRequest, project: Project) -> None:
    """Have the pages be about the project, in this session and in those that begin after it."""
    request.session[SESSION_KEY] = project.public_id
    User.objects.filter(pk=request.user.pk).update(last_project=project)


def resume_project(request: HttpRequest, user: User) -> None:
    """Have a session that begins be about the project that the user chose last."""
    if user.last_project is not None:
        request.session[SESSION_KEY] = user.last_project.public_id
