"""What people do with invitations. Whether an address has an account shows in nothing that the inviter sees."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog
from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.access import rights_in_organization
from accounts.audit import record
from accounts.errors import RefusedError
from accounts.invitations.admission import admit, open_to_others
from accounts.models import Invitation, Membership, Organization, Project, Removal, User
from accounts.roles import ProjectRole, Right, Role
from common.hints import send_hint
from common.tokens import new_token, token_hash

VALID = timedelta(days=7)
MOST_PER_DAY = 200
BETWEEN_MAILS = timedelta(minutes=2)
MAX_ATTEMPTS = 6

logger = structlog.get_logger(__name__)


@transaction.atomic
def invite(
    *,
    organization: Organization,
    email: str,
    role: Role,
    by: User,
    projects: Sequence[Project] = (),
    project_role: ProjectRole | None = None,
) -> Invitation:
    """Offer somebody a place; an earlier offer to the same address is replaced, and its link stops working.

    Raises RefusedError for the address of a member (which `by` sees anyway) and after too many in a day, and
    PermissionDenied when `by` may not give this role.
    """
    # Held, so that two requests at once make one invitation.
    organization = Organization.objects.select_for_update().get(pk=organization.pk)
    if not _may_invite(by, organization, role):
        raise PermissionDenied
    address = email.strip().lower()
    if Membership.objects.filter(organization=organization, user__email=address).exists():
        raise RefusedError(_("%(email)s is a member already.") % {"email": address}, code="is_member")
    a_day_ago = timezone.now() - timedelta(days=1)
    if Invitation.objects.filter(invited_by=by, created_at__gt=a_day_ago).count() >= MOST_PER_DAY:
        raise RefusedError(
            _("You have invited %(count)s people within a day. Go on tomorrow, or make a join link.")
            % {"count": MOST_PER_DAY},
            code="too_many_invitations",
        )
    organization = open_to_others(organization=organization, by=by)
    Invitation.objects.pending().filter(organization=organization, email=address).update(revoked_at=timezone.now())
    invitation = Invitation.objects.create(
        organization=organization,
        email=address,
        role=role,
        project_role=(project_role or ProjectRole.MEMBER) if projects else "",
        language=translation.get_language() or "",
        invited_by=by,
        expires_at=timezone.now() + VALID,
        mail_due_at=timezone.now(),
    )
    invitation.projects.set(projects)
    after: dict[str, object] = {"role": role.value, "projects": [one.public_id for one in projects]}
    _record("invitation.created", invitation, by, after=after)
    _hint_after_commit(invitation)
    return invitation


@transaction.atomic
def resend_invitation(*, invitation: Invitation, by: User) -> None:
    """Mail an invitation once more, with a new link and seven days from now; the earlier link stops working.

    Raises RefusedError when the last mail is only just on its way, and when it is not pending any more.
    """
    held = Invitation.objects.pending().select_for_update(of=("self",)).filter(pk=invitation.pk).first()
    if held is None:
        raise RefusedError(
            _("This invitation was accepted, taken back or replaced meanwhile. Make a new one if it is needed."),
            code="not_pending",
        )
    if held.mail_due_at or (held.mailed_at and held.mailed_at > timezone.now() - BETWEEN_MAILS):
        raise RefusedError(
            _("A mail is on its way already. Wait a few minutes before you send another."), code="too_soon"
        )
    held.expires_at = timezone.now() + VALID
    held.mail_due_at, held.mail_attempts = timezone.now(), 0
    held.save(update_fields=["expires_at", "mail_due_at", "mail_attempts"])
    _record("invitation.resent", held, by)
    _hint_after_commit(held)


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, by: User) -> None:
    """Take an offer back: its link stops working. Revoking it again changes nothing."""
    revoked = Invitation.objects.pending().filter(pk=invitation.pk)
    if revoked.update(revoked_at=timezone.now(), mail_due_at=None):
        _record("invitation.revoked", invitation, by)


def revoke_invitations_to(user: User, *, organization: Organization, by: User) -> None:
    """Take back what was offered to any address of the user's."""
    addresses = {address.lower() for address in EmailAddress.objects.filter(user=user).values_list("email", flat=True)}
    pending = Invitation.objects.pending().filter(organization=organization)
    for invitation in pending.filter(email__in=addresses | {user.email.lower()}):
        revoke_invitation(invitation=invitation, by=by)


def invitation_behind(token: str) -> Invitation | None:
    """The invitation with this token, whatever has become of it; None when there is none."""
    invitations = Invitation.objects.select_related("organization", "invited_by")
    return invitations.filter(token_hash=token_hash(token)).first()


def refusal_of(invitation: Invitation) -> RefusedError | None:
    """Why nobody can accept it any more; None while somebody can."""
    if invitation.accepted_at:
        return RefusedError(
            _("This invitation was accepted already. Sign in with the account that did."), code="invitation_used"
        )
    if invitation.revoked_at:
        return _taken_back()
    if invitation.is_expired:
        return RefusedError(
            _("This invitation has expired. Ask whoever invited you to send it again."), code="invitation_expired"
        )
    if not _may_invite(invitation.invited_by, invitation.organization, Role(invitation.role)):
        # Or somebody who manages people could, before they are removed, open a way back in.
        return RefusedError(
            _("Whoever invited you does not manage this organization any more. Ask for a new invitation."),
            code="inviter_gone",
        )
    return None


def _taken_back() -> RefusedError:
    return RefusedError(
        _("This invitation was taken back or replaced. Look for a newer mail, or ask for one."),
        code="invitation_revoked",
    )


def _may_invite(user: User | None, organization: Organization, role: Role) -> bool:
    right = Right.OWN if role == Role.OWNER else Right.MANAGE_PEOPLE
    return user is not None and right in rights_in_organization(user, organization)


def is_for(invitation: Invitation, user: User) -> bool:
    """Whether it was sent to an address of this user's."""
    if user.email.lower() == invitation.email:
        return True
    return bool(EmailAddress.objects.filter(user=user, email__iexact=invitation.email).exists())


@transaction.atomic
def accept_invitation(*, invitation: Invitation, user: User) -> bool:
    """Take what was offered; False when the user took it before.

    Raises RefusedError for another's invitation, and for one that was used, replaced, taken back or has expired.
    """
    organization = Organization.objects.select_for_update().get(pk=invitation.organization_id)
    held = (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("organization", "invited_by")
        .get(pk=invitation.pk)
    )
    if held.accepted_at and held.accepted_by_id == user.pk:
        return False
    if refusal := refusal_of(held):
        raise refusal
    if not is_for(held, user):
        raise RefusedError(
            _(
                "This invitation was sent to %(email)s. Sign out and sign in or sign up with that address; or add it "
                "to your account; or ask for an invitation to the address you use here."
            )
            % {"email": held.email},
            code="another_address",
        )
    if Removal.objects.filter(organization=organization, user=user, created_at__gt=held.created_at).exists():
        # Who was removed since must not come back by an address that nobody knew to be theirs.
        raise _taken_back()
    held.accepted_at, held.accepted_by, held.mail_due_at = timezone.now(), user, None
    held.save(update_fields=["accepted_at", "accepted_by", "mail_due_at"])
    Removal.objects.filter(organization=organization, user=user).delete()
    addresses = EmailAddress.objects.filter(email__iexact=held.email)
    if not addresses.filter(verified=True).exists():
        # Only who reads the mailbox has the link.
        addresses.filter(user=user).update(verified=True)
    admit(
        organization=organization,
        user=user,
        role=Role(held.role),
        projects=held.projects.filter(archived_at=None),
        project_role=ProjectRole(held.project_role) if held.project_role else None,
        way={"invitation": held.public_id},
    )
    return True


@transaction.atomic
def send_invitation(*, pk: int) -> None:
    """Mail an invitation that is due, with a new link. Safe to run twice and at once."""
    invitation = (
        Invitation.objects.pending()
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("organization", "invited_by")
        .filter(pk=pk, mail_due_at__isnull=False)
        .first()
    )
    if invitation is None:
        return
    token = new_token()
    invitation.token_hash, invitation.mail_due_at = token_hash(token), None
    try:
        _message(invitation, token).send()
        invitation.mailed_at = timezone.now()
    except OSError as error:  # SMTPException is one too
        invitation.mail_attempts += 1
        if invitation.mail_attempts < MAX_ATTEMPTS:
            invitation.mail_due_at = timezone.now() + timedelta(minutes=2**invitation.mail_attempts)
        logger.warning(
            "invitation_failed",
            invitation=invitation.public_id,
            attempt=invitation.mail_attempts,
            error=type(error).__name__,
        )
    invitation.save(update_fields=["token_hash", "mail_due_at", "mailed_at", "mail_attempts"])


def send_waiting_invitations() -> None:
    """Mail everything whose hint was lost or whose earlier attempt failed."""
    for pk in Invitation.objects.waiting_for_mail().values_list("pk", flat=True)[:200]:
        send_invitation(pk=pk)


def _message(invitation: Invitation, token: str) -> EmailMessage:
    """In the language of the recipient's account, when there is one, else in the inviter's."""
    recipient = User.objects.filter(email=invitation.email).first()
    language = (recipient.language if recipient else "") or invitation.language or settings.LANGUAGE_CODE
    with translation.override(language):
        context = {
            "invitation": invitation,
            "url": f"{settings.PUBLIC_URL}{reverse('accounts:accept_invitation', args=[token])}",
            "portal": settings.PORTAL_NAME,
        }
        subject = gettext("Invitation to %(organization)s at %(portal)s") % {
            "organization": invitation.organization.name,
            "portal": settings.PORTAL_NAME,
        }
        body = render_to_string("accounts/invitation_mail.txt", context)
    return EmailMessage(
        subject=" ".join(subject.split())[:180],
        body=body,
        to=[invitation.email],
        headers={"Auto-Submitted": "auto-generated"},
    )


def _hint_after_commit(invitation: Invitation) -> None:
    from accounts.tasks import send_invitation as task  # tasks import this module

    send = partial(task.delay, invitation.pk)
    transaction.on_commit(lambda: send_hint(send, about=invitation.public_id))


def _record(action: str, invitation: Invitation, by: User, *, after: dict[str, object] | None = None) -> None:
    record(action, by=by, target=invitation, organization=invitation.organization, after=after)
