"""Upkeep of the ledger."""

from datetime import timedelta

from django.utils import timezone

from usage.models import UsageRollup5Min

KEPT = timedelta(days=35)


def forget_old_sums() -> int:
    """Delete five-minute sums older than 35 days, and tell how many. The quarter hours they are part of stay."""
    deleted, _by_model = UsageRollup5Min.objects.filter(bucket_at__lt=timezone.now() - KEPT).delete()
    return deleted
