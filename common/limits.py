"""The limits a thing can carry: an abstract set of columns, inherited by keys now and by every other scope alike."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Limited(models.Model):
    """Limits of one scope. None means that this scope sets no limit of that kind."""

    requests_per_minute = models.PositiveIntegerField(
        _("requests per minute"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    tokens_per_minute = models.PositiveIntegerField(
        _("tokens per minute"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    concurrent_requests = models.PositiveIntegerField(
        _("requests at the same time"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    monthly_budget_nano = models.BigIntegerField(
        _("budget per month"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("In nano-dollars, for a calendar month in UTC."),
    )

    class Meta:
        abstract = True
