"""Moments that people name, such as when a key expires."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough for anything, and far enough from the end of the calendar that it can be shown in every time zone."""


def today() -> date:
    """The day that it is in UTC, whoever looks."""
    return timezone.now().astimezone(UTC).date()


def check_nearness(moment: datetime) -> None:
    """Raise ValidationError for a moment so late that it could not be shown. For form fields and serializers alike."""
    if moment >= LATEST:
        raise ValidationError(_("Choose a time nearer to now."), code="too_late")


def end_of(day: date, zone: tzinfo) -> datetime:
    """The moment at which a day has ended there. Raises ValidationError for one that `check_nearness` refuses."""
    try:
        moment = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min), zone)
    except (OverflowError, ValueError) as error:
        raise ValidationError(_("Choose a day nearer to now."), code="too_late") from error
    check_nearness(moment)
    return moment
