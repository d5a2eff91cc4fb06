"""What programs are told about usage, and what staff are."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind
from webhooks.registry import EventType

BUDGET_REACHED = EventType(
    "budget.reached",
    _(
        "A call was refused because a budget is used up: of the key (“key”), of its maker’s share in a cohort "
        "(“cohort”), of its maker as a member (“member”), of the project, of the organization, or of the model in the "
        "organization (“model”). Told once for each of its days, weeks or months, in the organization’s time zone."
    ),
    {
        "key_id": "key_0353lkPT8K4OGtWbqVtQ9n",
        "project_id": "proj_0353lkPT8K4OGtWbqVtQ9n",
        "month": "2026-03",
        "budget": "key",
        "span": "monthly",
        "limit_nano_dollars": 5_000_000_000,
    },
)

DRIFT = "usage_drift"
UNREADABLE = "usage_event_unreadable"
WAITS = "usage_waits"

# Each says how things stand, so none counts how often.
KINDS = (
    Kind(
        name=DRIFT,
        group=DRIFT,
        one=_(
            "The usage records do not agree with their sums or with what limits were counted with. "
            "“python manage.py reconcile” shows where."
        ),
    ),
    Kind(
        name=UNREADABLE,
        group=UNREADABLE,
        one=_(
            "A usage event could not be written into the records and was put aside. The log of the usage worker says "
            "why."
        ),
    ),
    Kind(
        name=WAITS,
        group=WAITS,
        one=_(
            "Usage of the last minutes is not in the records: nobody writes it there. Nothing is lost while Redis has "
            "room. Look whether the usage worker runs and reaches PostgreSQL."
        ),
    ),
)
