"""Telling people what happened, in the site and by mail."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any

import structlog
from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import User
from common.hints import send_hint
from notifications import registry
from notifications.models import MailPreference, Notification
from notifications.texts import Told, tell

MAILS_PER_DAY = 50
MAX_ATTEMPTS = 6
# Refusals of one mail, after which the next one may well be taken.
ABOUT_ONE_MAIL = (SMTPRecipientsRefused, SMTPDataError)
UNSUBSCRIBE_SALT = "notifications.unsubscribe"

logger = structlog.get_logger(__name__)


@transaction.atomic
def notify(
    *,
    recipient: User,
    kind: str,
    object_id: str,
    title: str,
    url: str,
    actor: User | None = None,
    source: str = "",
    detail: str = "",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Tell `recipient` that something of `kind` happened to the object named `object_id`.

    While an earlier notification about the same object is unread this one joins it, and no second mail is sent.
    `source` is the id of what the notification shows; when the recipient may not read it any more, it is left out.
    `detail` is plain text shown beneath, `facts` are what the words of the kind name besides. Nobody is told about what
    they did themselves.
    """
    if actor is not None and actor.pk == recipient.pk:
        return
    event: dict[str, Any] = {
        "kind": kind,
        "source": source,
        "actor": actor.name if actor else "",
        "actor_id": actor.public_id if actor else "",
        **({"facts": dict(facts)} if facts else {}),
    }
    group = registry.kind_named(kind).group
    if _join(recipient, group, object_id, event, detail, url):
        return
    try:
        with transaction.atomic():
            row = Notification.objects.create(
                recipient=recipient,
                kind=kind,
                group=group,
                object_id=object_id,
                title=title[:300],
                detail=detail,
                url=url,
                events=[event],
                mail_due_at=None if recipient.is_sample else timezone.now(),
            )
    except IntegrityError:
        # Another request made the row between our look and our insert.
        _join(recipient, group, object_id, event, detail, url)
        return
    if row.mail_due_at:
        transaction.on_commit(lambda: _hint(row))


def _join(recipient: User, group: str, object_id: str, event: dict[str, Any], detail: str, url: str) -> bool:
    row = Notification.objects.unread(recipient).filter(group=group, object_id=object_id).select_for_update().first()
    if row is None:
        return False
    row.events = [*row.events, event][-Notification.KEPT_EVENTS :]
    row.count += 1
    row.kind, row.detail, row.updated_at = event["kind"], detail, timezone.now()
    if not registry.kind_named(row.kind).many:
        row.url = url
    row.save(update_fields=["events", "count", "kind", "detail", "url", "updated_at"])
    return True


def _hint(row: Notification) -> None:
    from notifications.tasks import send  # tasks import this module

    send_hint(partial(send.delay, row.pk), about=row.public_id)


def mark_read(*, user: User, object_id: str = "", public_id: str = "") -> None:
    """Mark as read one notification, those about one object, or (with neither) all of the user's."""
    rows = Notification.objects.unread(user)
    if object_id:
        rows = rows.filter(object_id=object_id)
    if public_id:
        rows = rows.filter(public_id=public_id)
    rows.update(read_at=timezone.now())


def set_mail(*, user: User, wants_mail: bool) -> None:
    """Switch notifications by mail on or off; those in the site stay."""
    MailPreference.objects.update_or_create(user=user, defaults={"wants_mail": wants_mail})


def wants_mail(user: User) -> bool:
    return not MailPreference.objects.filter(user=user, wants_mail=False).exists()


def unsubscribe_token(user: User) -> str:
    """A token that stops the user's notification mail without signing in. It does nothing else and does not expire."""
    return signing.dumps(user.public_id, salt=UNSUBSCRIBE_SALT)


def user_behind(token: str) -> User | None:
    """The user whose mail the token stops; None for a token we did not make."""
    try:
        return User.objects.filter(public_id=signing.loads(token, salt=UNSUBSCRIBE_SALT)).first()
    except signing.BadSignature:
        return None


def send_mail(*, pk: int) -> bool:
    """Mail the notification unless that is done, unwanted or no longer true. Safe to run twice and at once.

    False when the mail server is away, so that trying another mail now would only be another wait.
    """
    row = _begin_attempt(pk)
    if row is None:
        return True
    try:
        told = _worth_mailing(row)
        if told is not None:
            _message(told).send()
            row.mailed_at = timezone.now()
    except OSError as error:  # SMTPException is one too
        logger.warning("mail_failed", notification=row.public_id, attempt=row.mail_attempts, error=str(error))
        return isinstance(error, ABOUT_ONE_MAIL)
    except Exception:
        # One row that cannot be told must not keep back all that wait behind it.
        logger.exception("mail_impossible", notification=row.public_id, attempt=row.mail_attempts)
        return True
    row.mail_due_at = None
    row.save(update_fields=["mail_due_at", "mailed_at"])
    return True


@transaction.atomic
def _begin_attempt(pk: int) -> Notification | None:
    """The row if its mail is due, with the attempt counted: no lock is held while the mail server takes its time."""
    row = (
        Notification.objects.waiting_for_mail()
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("recipient")
        .filter(pk=pk)
        .first()
    )
    if row is None:
        return None
    row.mail_attempts += 1
    again_at = timezone.now() + timedelta(minutes=2**row.mail_attempts)
    row.mail_due_at = again_at if row.mail_attempts < MAX_ATTEMPTS else None
    row.save(update_fields=["mail_due_at", "mail_attempts"])
    return row


def _worth_mailing(row: Notification) -> Told | None:
    recipient = row.recipient
    if row.read_at or not recipient.is_active or not wants_mail(recipient):
        return None
    a_day_ago = timezone.now() - timedelta(days=1)
    if Notification.objects.filter(recipient=recipient, mailed_at__gt=a_day_ago).count() >= MAILS_PER_DAY:
        return None
    with translation.override(_language(recipient)):
        told = tell(recipient, [row])[0]
    return told if told.is_available else None


def _language(user: User) -> str:
    return user.language or settings.LANGUAGE_CODE


def _message(told: Told) -> EmailMessage:
    row = told.notification
    stop = settings.PUBLIC_URL + reverse("notifications:unsubscribe", args=[unsubscribe_token(row.recipient)])
    with translation.override(_language(row.recipient)):
        body = render_to_string(
            "notifications/mail.txt",
            {
                "told": told,
                "recipient": row.recipient,
                "url": settings.PUBLIC_URL + row.url,
                "stop": stop,
                "portal": settings.PORTAL_NAME,
            },
        )
    return EmailMessage(
        subject=" ".join(told.text.split())[:180],
        body=body,
        to=[row.recipient.email],
        headers={
            # RFC 8058: the mail program's own button unsubscribes with one POST, without cookies.
            "List-Unsubscribe": f"<{stop}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Auto-Submitted": "auto-generated",
        },
    )


def send_waiting() -> None:
    """Mail what has no hint any more or failed before, until there is none or the mail server is away."""
    for pk in Notification.objects.waiting_for_mail().values_list("pk", flat=True)[:200]:
        if not send_mail(pk=pk):
            return
