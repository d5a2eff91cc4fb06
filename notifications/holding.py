"""What is held about what a person was told, and what others were told about them."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from notifications.models import MailPreference, Notification


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "notifications/notifications.json",
        Notification.objects.for_list(user).order_by("pk"),
        *("kind", "title", "detail", "url", "count", "created_at", "read_at", "mailed_at"),
    )
    yield as_table("notifications/mail.json", MailPreference.objects.filter(user=user), "wants_mail")


def erase(user: User) -> None:
    Notification.objects.for_list(user).delete()
    MailPreference.objects.filter(user=user).delete()
    for row in Notification.objects.filter(events__contains=[{"actor_id": user.public_id}]):
        row.events = [
            event | {"actor": "", "actor_id": ""} if event.get("actor_id") == user.public_id else event
            for event in row.events
        ]
        row.save(update_fields=["events"])


HOLDING = Holding(
    app="notifications",
    exports=frozenset({"notifications.Notification", "notifications.MailPreference"}),
    erases=frozenset({"notifications.Notification", "notifications.MailPreference"}),
    export=export,
    erase=erase,
)
