"""What is dropped from the ledger, and what stays."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import Project
from tests.usage.ledger import add_usage
from usage.models import UsageRollup5Min, UsageRollup15Min
from usage.services import forget_old_sums


def test_only_five_minute_sums_are_forgotten(project: Project) -> None:
    for days in (1, 34, 36, 400):
        add_usage(project, timezone.now() - timedelta(days=days))
    assert forget_old_sums() == 2
    assert UsageRollup5Min.objects.count() == 2
    assert UsageRollup15Min.objects.count() == 4
