"""What programs are told about usage."""

from django.utils.translation import gettext_lazy as _

from webhooks.registry import EventType

BUDGET_REACHED = EventType(
    "budget.reached",
    _(
        "A call was refused because the budget of the key (“key”) or its maker’s share in a cohort (“cohort”) is used "
        "up. Told once per key, budget and calendar month (UTC)."
    ),
    {
        "key_id": "key_0353lkPT8K4OGtWbqVtQ9n",
        "project_id": "proj_0353lkPT8K4OGtWbqVtQ9n",
        "month": "2026-03",
        "budget": "key",
        "limit_nano_dollars": 5_000_000_000,
    },
)
