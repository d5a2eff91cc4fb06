"""Mail of an installation without a mail server."""

from collections.abc import Sequence

from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from accounts.models import KeptMail, User


class KeptMailBackend(BaseEmailBackend):
    """Keeps each mail as a row per recipient, to be read at /mail/. The newest of each recipient stay."""

    KEEP = 100

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        owners = _owners({recipient.lower() for message in email_messages for recipient in message.recipients()})
        KeptMail.objects.bulk_create(
            KeptMail(
                user_id=owners.get(recipient.lower()),
                recipient=recipient.lower(),
                subject=message.subject[:300],
                body=str(message.body),
            )
            for message in email_messages
            for recipient in message.recipients()
        )
        for recipient in {recipient.lower() for message in email_messages for recipient in message.recipients()}:
            theirs = KeptMail.objects.filter(recipient=recipient).order_by("-pk")
            KeptMail.objects.filter(pk__in=theirs.values("pk")[self.KEEP :]).delete()
        return len(email_messages)


def _owners(addresses: set[str]) -> dict[str, int]:
    """The users by address. One that was added and never confirmed is nobody's, and its mail staff's alone."""
    confirmed = EmailAddress.objects.filter(email__in=addresses, verified=True).values_list("email", "user")
    signing_in = User.objects.filter(email__in=addresses).values_list("email", "pk")
    return {**dict(confirmed), **dict(signing_in)}
