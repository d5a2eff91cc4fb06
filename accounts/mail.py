"""Mail of an installation without a mail server."""

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from accounts.models import KeptMail


class KeptMailBackend(BaseEmailBackend):
    """Keeps each mail as a row per recipient, to be read at /mail/. The newest thousand stay."""

    KEEP = 1000

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        KeptMail.objects.bulk_create(
            KeptMail(recipient=recipient.lower(), subject=message.subject[:300], body=str(message.body))
            for message in email_messages
            for recipient in message.recipients()
        )
        oldest_kept = KeptMail.objects.order_by("-pk").values_list("pk", flat=True)[self.KEEP - 1 : self.KEEP].first()
        if oldest_kept is not None:
            KeptMail.objects.filter(pk__lt=oldest_kept).delete()
        return len(email_messages)
