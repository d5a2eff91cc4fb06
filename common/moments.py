"""Moments that people name, such as when a key expires."""

from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough for anything, and far enough from the end of the calendar that it can be shown in every time zone."""


def check_nearness(moment: datetime) -> None:
    """Raise ValidationError for a moment so late that it could not be shown. For form fields and serializers alike."""
    if moment >= LATEST:
        raise ValidationError(_("Choose a time nearer to now."), code="too_late")
