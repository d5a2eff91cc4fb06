"""What programs and people are told about usage."""

from enum import StrEnum

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import Words
from notifications.registry import Kind
from webhooks.registry import EventType

BUDGET_REACHED = EventType(
    "budget.reached",
    _(
        "A call was refused because it could have cost more than what is left of a budget, at most a tenth of it: of "
        "the key (“key”), of its maker’s share in a cohort (“cohort”), of its maker as a member (“member”), of the "
        "project, of the organization, of the organization’s plan (“plan”), or of the model in the organization "
        "(“model”). What is left of an organization’s credits is left of its own budgets as well. Told once for each "
        "of its days, weeks or months, in the organization’s time zone."
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

BUDGET_ALERT = EventType(
    "budget.alert",
    _(
        "A budget has come to one of the percentages that were chosen for it. 100 is told when nothing is left, of an "
        "organization’s own budget and its credits together, and when a call was refused while a tenth of the budget "
        "or less was left; the percentages below are of the budget alone, which pays what credits do not cover. "
        "“budget” says whose it is, as in budget.reached, and “id” which: of a key, a project, an organization, the "
        "person who is a member or in a cohort, or the name of a model. Told once for each of its days, weeks or "
        "months and percentage, and of several passed at once the highest."
    ),
    {
        "budget": "project",
        "id": "proj_0353lkPT8K4OGtWbqVtQ9n",
        "project_id": "proj_0353lkPT8K4OGtWbqVtQ9n",
        "span": "monthly",
        "percent": 80,
        "used_nano_dollars": 4_010_000_000,
        "limit_nano_dollars": 5_000_000_000,
        "resets_at": "2026-04-01T00:00:00+00:00",
        "url": "https://llm.example.com/usage/?project=proj_0353lkPT8K4OGtWbqVtQ9n&window=30d",
    },
)

CREDITS_ALERT = EventType(
    "credits.alert",
    _(
        "Of the organization’s credits a fifth or less is left of what was there once the last were granted (“low”), "
        "they have run out (“used_up”; “prepaid_used_up” where no budget pays besides, so that calls are refused, be "
        "it that a tenth or less is left and a call could have cost more), or the grant “grant_id” ends within a week "
        "and something is left of it (“ends_soon”). Each is told once for a grant."
    ),
    {
        "notice": "low",
        "grant_id": "cred_0353lkPT8K4OGtWbqVtQ9n",
        "left_nano_dollars": 19_200_000_000,
        "of_nano_dollars": 100_000_000_000,
        "ends_at": None,
        "url": "https://llm.example.com/organizations/org_0353lkPT8K4OGtWbqVtQ9n/credits/",
    },
)


class Budget(StrEnum):
    """Whose a budget is, to those who are told of it."""

    ORGANIZATION = "organization"
    AFTER_CREDITS = "after_credits"
    PLAN = "plan"
    PROJECT = "project"
    MEMBER = "member"
    OWN = "own"
    COHORT = "cohort"
    KEY = "key"
    MODEL = "model"


_WHOSE = {
    Budget.ORGANIZATION: _("the organization “%(title)s”"),
    Budget.AFTER_CREDITS: _("the organization “%(title)s” for what its credits do not cover"),
    Budget.PLAN: _("the plan “%(title)s” of the organization “%(organization)s”"),
    Budget.PROJECT: _("the project “%(title)s”"),
    Budget.MEMBER: _("%(actor)s in the organization “%(title)s”"),
    Budget.OWN: _("your membership in the organization “%(title)s”"),
    Budget.COHORT: _("your place in the cohort “%(title)s”"),
    Budget.KEY: _("the key “%(title)s”"),
    Budget.MODEL: _("the organization “%(organization)s” for the model “%(title)s”"),
}
_NEARS = {
    "daily": _(
        "At least %(percent)s%% of the daily budget of {whose} is used: %(used)s of %(limit)s. It starts anew on "
        "%(day)s."
    ),
    "weekly": _(
        "At least %(percent)s%% of the weekly budget of {whose} is used: %(used)s of %(limit)s. It starts anew on "
        "%(day)s."
    ),
    "monthly": _(
        "At least %(percent)s%% of the monthly budget of {whose} is used: %(used)s of %(limit)s. It starts anew on "
        "%(day)s."
    ),
}
_NEARLY_USED_UP = {
    "daily": _(
        "The daily budget of {whose} is nearly used up: %(used)s of %(limit)s. Calls that could cost more than what "
        "is left (%(left)s) are refused until it starts anew on %(day)s."
    ),
    "weekly": _(
        "The weekly budget of {whose} is nearly used up: %(used)s of %(limit)s. Calls that could cost more than what "
        "is left (%(left)s) are refused until it starts anew on %(day)s."
    ),
    "monthly": _(
        "The monthly budget of {whose} is nearly used up: %(used)s of %(limit)s. Calls that could cost more than what "
        "is left (%(left)s) are refused until it starts anew on %(day)s."
    ),
}
_USED_UP = {
    "daily": _(
        "The daily budget of {whose} is used up: %(used)s of %(limit)s. Calls that cost money are refused until it "
        "starts anew on %(day)s."
    ),
    "weekly": _(
        "The weekly budget of {whose} is used up: %(used)s of %(limit)s. Calls that cost money are refused until it "
        "starts anew on %(day)s."
    ),
    "monthly": _(
        "The monthly budget of {whose} is used up: %(used)s of %(limit)s. Calls that cost money are refused until it "
        "starts anew on %(day)s."
    ),
}


class Standing(StrEnum):
    """How far a budget is used, as people are told."""

    NEARS = "nears"
    NEARLY_USED_UP = "nearly"
    USED_UP = "used_up"


def alert_kind(whose: Budget, span: str, standing: Standing) -> str:
    """The name of the kind of notification about a budget."""
    return f"budget_{standing}.{whose}.{span}"


_ALERTS = tuple(
    Kind(
        name=alert_kind(whose, span, standing),
        group="budget",
        one=format_lazy(sentence, whose=owner),
    )
    for whose, owner in _WHOSE.items()
    for standing, sentences in (
        (Standing.NEARS, _NEARS),
        (Standing.NEARLY_USED_UP, _NEARLY_USED_UP),
        (Standing.USED_UP, _USED_UP),
    )
    for span, sentence in sentences.items()
)


class CreditsNotice(StrEnum):
    """What is told of an organization's credits."""

    LOW = "low"
    USED_UP = "used_up"
    PREPAID_USED_UP = "prepaid_used_up"
    ENDS_SOON = "ends_soon"


_CREDITS = {
    CreditsNotice.LOW: _(
        "At most a fifth of the credits of the organization “%(title)s” is left: %(left)s of the %(of)s that were "
        "there after the last grant."
    ),
    CreditsNotice.USED_UP: _(
        "The credits of the organization “%(title)s” have run out. What its calls cost counts against its budgets now."
    ),
    CreditsNotice.PREPAID_USED_UP: _(
        "%(left)s is left of the credits of the organization “%(title)s”. Calls that could cost more are refused until "
        "the operator of this portal grants more."
    ),
    CreditsNotice.ENDS_SOON: _(
        "Credits of the organization “%(title)s” end on %(day)s. %(left)s of %(of)s is not used yet, and is lost then."
    ),
}


def credits_kind(notice: CreditsNotice) -> str:
    """The name of the kind of notification about credits."""
    return f"credits.{notice}"


CREDITS_GRANTED = "usage.credits_granted"
CREDITS_REVOKED = "usage.credits_revoked"
DRIFT = "usage_drift"
UNREADABLE = "usage_event_unreadable"
WAITS = "usage_waits"

ACTIONS: dict[str, Words] = {
    "credits.granted": _("granted the organization credits of %(target)s"),
    "credits.revoked": _("took back what was left of credits of %(target)s"),
}

# Each says how things stand, so none counts how often.
KINDS = (
    *_ALERTS,
    *(Kind(name=credits_kind(notice), group="credits", one=sentence) for notice, sentence in _CREDITS.items()),
    Kind(
        name=CREDITS_GRANTED,
        group=CREDITS_GRANTED,
        one=_("Your organization was granted credits of %(title)s, which pay for calls before its budgets do"),
    ),
    Kind(
        name=CREDITS_REVOKED,
        group=CREDITS_REVOKED,
        one=_("What was left of your organization’s credits of %(title)s was taken back"),
    ),
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
