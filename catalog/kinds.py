"""What staff are told about the catalog."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind

UNREADABLE = "backend_unreadable"

KINDS = (
    Kind(
        name=UNREADABLE,
        group=UNREADABLE,
        one=_(
            "The credential of the backend %(title)s can no longer be decrypted, so no call goes there. Enter it again."
        ),
        many=_("The credential of the backend %(title)s could not be decrypted %(count)s times. Enter it again."),
    ),
)
