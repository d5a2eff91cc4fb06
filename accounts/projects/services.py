"""What people do with projects, with the places in them, and with their service accounts."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.audit import record
from accounts.errors import RefusedError
from accounts.models import Membership, Organization, Project, ProjectMembership, ServiceAccount, User
from accounts.roles import ProjectRole
from accounts.signals import project_changed, rights_changed, service_account_removed


@transaction.atomic
def create_project(
    *, organization: Organization, name: str, by: User, is_open: bool = True, ends_at: datetime | None = None
) -> Project:
    project = Project.objects.create(organization=organization, name=name, is_open=is_open, ends_at=ends_at)
    record("project.created", by=by, target=project, organization=organization, label=name, after=_settings_of(project))
    return project


@transaction.atomic
def change_project(*, project: Project, name: str, is_open: bool, ends_at: datetime | None, by: User) -> Project:
    """Save the settings of a project. Who only takes part because it is open loses that when it is closed."""
    changed = _hold(project)
    before = _settings_of(changed)
    changed.name, changed.is_open, changed.ends_at = name, is_open, ends_at
    after = _settings_of(changed)
    if before == after:
        return changed
    changed.save(update_fields=["name", "is_open", "ends_at"])
    record(
        "project.changed",
        by=by,
        target=changed,
        organization=changed.organization,
        label=name,
        before={key: value for key, value in before.items() if value != after[key]},
        after={key: value for key, value in after.items() if value != before[key]},
    )
    if {**before, "name": name} != after:
        project_changed.send(sender=Project, project=changed)
    return changed


@transaction.atomic
def archive_project(*, project: Project, by: User) -> None:
    """Put a project away: none of its keys works until it is restored. Archiving it again changes nothing."""
    _set_archived(project, True, by)


@transaction.atomic
def restore_project(*, project: Project, by: User) -> None:
    """Bring an archived project back, its keys with it."""
    _set_archived(project, False, by)


@transaction.atomic
def set_place(*, project: Project, membership: Membership, role: ProjectRole, by: User) -> ProjectMembership:
    """Give a member of the organization a place in the project, or another role there."""
    # The member's row is held, so that two requests at once make one place, and none for somebody who has just left.
    held = Membership.objects.select_for_update(of=("self",)).select_related("user")
    member = held.filter(pk=membership.pk).first()
    if member is None:
        raise Http404
    place = ProjectMembership.objects.filter(project=project, membership=member).first()
    before = place.role if place else ""
    if place is None:
        place = ProjectMembership(project=project, membership=member)
    if before == role:
        return place
    place.role = role
    place.save()
    _tell_place(project, member.user, by, before=before, after=role)
    return place


@transaction.atomic
def remove_place(*, place: ProjectMembership, by: User) -> None:
    """Take back a member's place in a project; what their role in the organization gives them there stays."""
    user, project = place.membership.user, place.project
    removed, _details = ProjectMembership.objects.filter(pk=place.pk).delete()
    if removed:
        _tell_place(project, user, by, before=place.role, after="")


@transaction.atomic
def create_service_account(*, project: Project, name: str, description: str, by: User) -> ServiceAccount:
    """A place in the project for a program. Raises RefusedError when one of this name is there."""
    account = ServiceAccount(project=project, name=name, description=description, created_by=by)
    _save_named(account)
    _record_service_account("service_account.created", account, by)
    return account


@transaction.atomic
def open_service_account(*, project: Project, name: str, by: User) -> ServiceAccount:
    """The project's service account of that name, made when there is none."""
    account, is_new = ServiceAccount.objects.get_or_create(
        project=project, name=name, removed_at=None, defaults={"created_by": by}
    )
    if is_new:
        _record_service_account("service_account.created", account, by)
    return account


@transaction.atomic
def change_service_account(*, account: ServiceAccount, name: str, description: str, by: User) -> None:
    """Rename a service account. Raises RefusedError when another has this name."""
    before = ServiceAccount.objects.get(pk=account.pk).name
    account.name, account.description = name, description
    _save_named(account)
    _record_service_account("service_account.changed", account, by, before={"name": before}, after={"name": name})


@transaction.atomic
def remove_service_account(*, account: ServiceAccount, by: User) -> None:
    """Remove a service account and, by way of the signal, end its keys. Removing it again changes nothing."""
    removed = ServiceAccount.objects.filter(pk=account.pk, removed_at=None).update(removed_at=timezone.now())
    if removed:
        _record_service_account("service_account.removed", account, by)
        service_account_removed.send(sender=ServiceAccount, service_account=account, by=by)


def _hold(project: Project) -> Project:
    return Project.objects.select_for_update(of=("self",)).select_related("organization").get(pk=project.pk)


def _settings_of(project: Project) -> dict[str, object]:
    ends_at = project.ends_at.isoformat() if project.ends_at else None
    return {"name": project.name, "is_open": project.is_open, "ends_at": ends_at}


def _set_archived(project: Project, is_archived: bool, by: User) -> None:
    changed = _hold(project)
    if (changed.archived_at is not None) == is_archived:
        return
    changed.archived_at = timezone.now() if is_archived else None
    changed.save(update_fields=["archived_at"])
    action = "project.archived" if is_archived else "project.restored"
    record(action, by=by, target=changed, organization=changed.organization, label=changed.name)
    project_changed.send(sender=Project, project=changed)


def _tell_place(project: Project, user: User, by: User, *, before: str, after: str) -> None:
    record(
        "project.member_changed",
        by=by,
        target=user,
        organization=project.organization,
        before={"project": project.public_id, "role": before},
        after={"project": project.public_id, "role": after},
    )
    rights_changed.send(sender=ProjectMembership, user=user, organization=project.organization)


def _save_named(account: ServiceAccount) -> None:
    try:
        with transaction.atomic():
            account.save()
    except IntegrityError as error:
        raise RefusedError(
            _("The project has a service account of this name already. Choose another name."), code="name_taken"
        ) from error


def _record_service_account(
    action: str,
    account: ServiceAccount,
    by: User,
    *,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> None:
    record(
        action,
        by=by,
        target=account,
        organization=account.project.organization,
        label=account.name,
        before=before,
        after=after,
    )
