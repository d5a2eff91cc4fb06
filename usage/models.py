"""The ledger: one event per call, the sums that pages read, and the credits that pay for calls."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, last_moment
from common.ids import new_id, uuid7
from common.limits import LARGEST_MONEY
from common.money import exact_dollars
from usage import histograms
from usage.histograms import Percentiles


class Source(models.TextChoices):
    """What made the call."""

    KEY = "key", _("API key")
    PLAYGROUND = "playground", _("Playground")
    BATCH = "batch", _("Batch")


def made_with(key_id: str, source: str) -> str:
    """What a call was made with: the public id of its key, or its source where it was made without one."""
    return key_id or source


def began(since: datetime | None = None, until: datetime | None = None) -> models.Q:
    """The condition that keeps events from `since` on and before `until`, as far as they are given.

    An event's id begins with its time, and by the id PostgreSQL knows which months it need not open.
    """
    condition = models.Q()
    if since is not None:
        condition &= models.Q(at__gte=since, id__gte=first_id(since))
    if until is not None:
        # The moment may lie within a millisecond, and the ids of all of that one are to be looked at.
        condition &= models.Q(at__lt=until, id__lt=first_id(until, later=1))
    return condition


def first_id(moment: datetime, *, later: int = 0) -> UUID:
    """What no id is less than of an event in the millisecond of `moment`, or so many `later`."""
    return UUID(int=max(0, int(moment.timestamp() * 1000) + later) << 80)


MADE_AGAIN = models.Q(failovers__gt=0) | models.Q(retries__gt=0)
"""The condition that keeps calls that other servers were asked for before, or that their clients had made before."""


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    def between(self, since: datetime | None, until: datetime | None) -> Self:
        """Those that `began` in this time."""
        return self.filter(began(since, until))


class UsageEvent(models.Model):
    """One metered call: counts and times, never what was written. Rows are only ever inserted.

    `id` is fixed at admission, so that an event delivered twice is inserted once. Public identifiers rather than
    foreign keys: a row says what happened and stays when the key, the project or the person is gone.

    In PostgreSQL a partition per month, by the time in `id`, which is `at`: what is older than it is kept goes with its
    partition, at no cost. Whoever asks for a time asks with `between` or `began`, or every month is opened.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("at"))
    request_id = models.CharField(_("request"), max_length=40)
    source = models.CharField(_("source"), max_length=12, choices=Source)
    organization_id = models.CharField(_("organization"), max_length=40)
    project_id = models.CharField(_("project"), max_length=40)
    key_id = models.CharField(_("key"), max_length=40, blank=True)
    user_id = models.CharField(_("user"), max_length=40, blank=True)
    model = models.CharField(_("model"), max_length=200)
    backend = models.CharField(_("backend"), max_length=60, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=40)
    status = models.PositiveSmallIntegerField(_("HTTP status"))
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    is_streamed = models.BooleanField(_("streamed"), default=False)
    is_estimated = models.BooleanField(
        _("estimated"), default=False, help_text=_("The server gave no final count, so the tokens are ours.")
    )
    prompt_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(_("of them cached"), default=0)
    completion_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cost_nano = models.BigIntegerField(_("cost"), default=0)
    latency_ms = models.PositiveIntegerField(_("duration in milliseconds"), default=0)
    first_token_ms = models.PositiveIntegerField(_("first token after milliseconds"), null=True)
    # In the database too: a worker of the version before may go on for a while and knows no such columns.
    reasoning_tokens = models.PositiveIntegerField(_("of the output reasoning"), default=0, db_default=0)
    deployment = models.CharField(
        _("deployment"),
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text=_("The model’s name at the backend, where it is another."),
    )
    asked_model = models.CharField(
        _("model asked for"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_("The name in the call, where an alias or a fallback made another of it."),
    )
    client = models.CharField(
        _("client"),
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text=_("The library that made the call and its version; empty for unknown ones."),
    )
    retries = models.PositiveSmallIntegerField(
        _("retries"), default=0, db_default=0, help_text=_("How often the client had made the call before, as it says.")
    )
    failovers = models.PositiveSmallIntegerField(
        _("fail-overs"), default=0, db_default=0, help_text=_("How many servers were asked in vain before.")
    )
    # Told rather than the time of servers, so that zero says of calls from before what was counted of them: all of it.
    waited_ms = models.PositiveIntegerField(
        _("of it waited in milliseconds"),
        default=0,
        db_default=0,
        help_text=_("How long no server was at it: before one was reached, between two, or while the client read."),
    )
    # Null takes no room in a row, and most calls draw on none.
    credit_nano = models.BigIntegerField(_("of the cost paid by credits"), null=True)
    draws = models.JSONField(_("paid by each grant"), null=True)

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage event")
        verbose_name_plural = _("usage events")
        indexes = [
            models.Index(fields=["request_id"], name="event_by_request"),
            models.Index(fields=["project_id", "-at"], name="event_by_project"),
            # Failures are few and looked for most: without it the walk to them goes through all that was answered.
            models.Index(fields=["project_id", "-at"], condition=models.Q(status__gte=400), name="failure_by_project"),
            # Few as well, and whoever runs the portal counts them.
            models.Index(
                fields=["at"],
                include=["backend", "model", "failovers", "retries"],
                condition=MADE_AGAIN,
                name="event_made_again",
            ),
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def server_ms(self) -> int:
        """How long servers were held by the call; of one that reached none it is nothing."""
        return self.latency_ms - self.waited_ms if self.backend else 0


class UsageSumsQuerySet(models.QuerySet[Any]):
    def of_projects(self, ids: Iterable[str]) -> Self:
        """Those of the projects with these public ids, as the index of the sums has them."""
        return self.filter(project_id__in=list(ids))

    def of_people(self, ids: Iterable[str], *, keys: Iterable[str]) -> Self:
        """Those of calls that these people made without a key or with one of `keys`."""
        return self.filter(models.Q(user_id__in=list(ids)) | models.Q(key_id__in=list(keys)))

    def since(self, moment: datetime) -> Self:
        """Those of the bucket that begins at this moment, and of all after it."""
        return self.filter(bucket_at__gte=moment)

    def called_models(self) -> list[str]:
        """The names of the models that were called, by name."""
        named = self.exclude(model="").order_by("model")
        return list(named.values_list("model", flat=True).distinct())

    def for_forecast(
        self, *, since: datetime, month: datetime, week: datetime, today: datetime, now: datetime
    ) -> "Spending":
        """What the month came to until now, and the days from `week` until today; looks back to `since`."""
        in_month = models.Q(bucket_at__gte=month)
        sums = self.since(min(since, month, week)).filter(bucket_at__lte=now, cost_nano__gt=0)
        found = sums.aggregate(
            month_nano=models.Sum("cost_nano", filter=in_month),
            credit_nano=models.Sum("credit_nano", filter=in_month),
            week_nano=models.Sum("cost_nano", filter=models.Q(bucket_at__gte=week, bucket_at__lt=today)),
            first_at=models.Min("bucket_at"),
        )
        first_at = found.pop("first_at")
        return Spending(**{name: int(value or 0) for name, value in found.items()}, first_at=first_at)

    def percentiles(self, *by: str) -> "Mapping[tuple[Any, ...], Speed]":
        """How fast calls were, told apart by the values of these columns or annotations; by none, under `()`."""
        sums = {f"of_{name}": models.Sum(name) for name in HISTOGRAMS}
        found: dict[tuple[Any, ...], Speed] = {}
        # A constant besides, since to name no column would be to name all.
        rows = self.order_by().annotate(one=models.Value(1)).values_list("one", *by).annotate(**sums)
        for _one, *values, latency, first_token in rows:
            found[tuple(values)] = Speed(
                histograms.percentiles(int(latency or 0)), histograms.percentiles(int(first_token or 0))
            )
        return found


class Spending(NamedTuple):
    """What was spent in a month, what credits paid of it, and what was spent in the week before today.

    `first_at` is when the first of what was looked at began that cost anything, None where nothing did.
    """

    month_nano: int
    credit_nano: int
    week_nano: int
    first_at: datetime | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How long calls took, and how long until their first token; None where nothing was measured."""

    latency: Percentiles | None
    first_token: Percentiles | None


# What a row of sums is of. Apart from their tables, for their indexes are made of them as well.
_OF_A_KEY = (
    "project_id", "bucket_at", "key_id", "user_id", "model", "endpoint", "source", "status", "error_code",
    "organization_id",
)  # fmt: skip
_OF_A_PROJECT = (
    "project_id", "bucket_at", "model", "endpoint", "source", "status", "error_code", "organization_id",
)  # fmt: skip
_OF_ALL = ("bucket_at", "model", "backend", "endpoint", "source", "status", "error_code")
_OF_AN_ORGANIZATION = ("bucket_at", "organization_id")

MEASURES = (
    "requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano",
    "credit_nano", "latency_ms_sum", "waited_ms_sum", "latency_count", "first_token_ms_sum", "first_token_count",
    "latency_histogram", "first_token_histogram",
)  # fmt: skip
HISTOGRAMS = ("latency_histogram", "first_token_histogram")


class UsageSums(models.Model):
    """Sums of one bucket of time. A table has a row for each combination of those columns of events that are in its
    `CELL`, in the order in which its index finds them, and all tables have the same sums.

    Six tables, since how fast a question is answered is decided by how many rows it reads, and none has few for all:

    - A cell of a key and five minutes, or a quarter of an hour, holds about one call, and saves little more than the
      look at the calls themselves. But it can be narrowed to anything, and cut where any time zone's days begin: pages
      of up to 35 days, the usage API and the months of budgets are made of these.
    - Cells of a project and an hour stay few however many calls and keys there are: for pages of up to 35 days that
      need no key. They make the days of every zone but those few whose clocks are not whole hours apart from UTC, for
      which there are the quarters.
    - A year is read from cells of a key and a day, which is UTC's: it has too many hours.
    - Whoever runs the portal asks about all organizations at once: hours without them, and days with nothing else.
    """

    WIDTH: ClassVar[str]
    CELL: ClassVar[tuple[str, ...]]

    bucket_at = models.DateTimeField(_("from"))
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    # In the database too: a worker of the version before may go on for a while and knows no such columns.
    reasoning_tokens = models.BigIntegerField(default=0, db_default=0)
    cost_nano = models.BigIntegerField(default=0)
    # Of the cost, what credits paid.
    credit_nano = models.BigIntegerField(default=0, db_default=0)
    # Only of calls that reached a model's server: what the portal refuses is no model's time.
    latency_ms_sum = models.BigIntegerField(default=0)
    # Of these milliseconds, those in which no server was at the call.
    waited_ms_sum = models.BigIntegerField(default=0, db_default=0)
    latency_count = models.BigIntegerField(default=0, db_default=0)
    latency_histogram = histograms.field()
    first_token_ms_sum = models.BigIntegerField(default=0)
    first_token_count = models.BigIntegerField(default=0)
    first_token_histogram = histograms.field()
    updated_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[UsageSumsQuerySet] = UsageSumsQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        abstract = True


class UsageRollup(UsageSums):
    """Sums for one combination of who, what and how it ended."""

    source = models.CharField(max_length=12, choices=Source)
    organization_id = models.CharField(max_length=40)
    project_id = models.CharField(max_length=40)
    key_id = models.CharField(max_length=40, blank=True)
    user_id = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200)
    endpoint = models.CharField(max_length=40)
    status = models.PositiveSmallIntegerField()
    error_code = models.CharField(max_length=60, blank=True)

    class Meta:
        abstract = True


class UsageRollup5Min(UsageRollup):
    """Five-minute sums, kept for 35 days."""

    WIDTH = "5 minutes"
    CELL = _OF_A_KEY

    class Meta:
        verbose_name = _("five-minute sum")
        verbose_name_plural = _("five-minute sums")
        constraints = [models.UniqueConstraint(fields=_OF_A_KEY, name="one_row_per_5min_cell")]


class UsageRollup15Min(UsageRollup):
    """Quarter-hour sums, kept: every time zone's days are made of them."""

    WIDTH = "15 minutes"
    CELL = _OF_A_KEY

    class Meta:
        verbose_name = _("quarter-hour sum")
        verbose_name_plural = _("quarter-hour sums")
        constraints = [models.UniqueConstraint(fields=_OF_A_KEY, name="one_row_per_15min_cell")]


class UsageProjectHour(UsageSums):
    """Sums of a project and an hour, by outcome and not by key; kept."""

    WIDTH = "1 hour"
    CELL = _OF_A_PROJECT

    organization_id = models.CharField(max_length=40)
    project_id = models.CharField(max_length=40)
    source = models.CharField(max_length=12, choices=Source)
    model = models.CharField(max_length=200)
    endpoint = models.CharField(max_length=40)
    status = models.PositiveSmallIntegerField()
    error_code = models.CharField(max_length=60, blank=True)

    class Meta:
        verbose_name = _("hourly sum of a project")
        verbose_name_plural = _("hourly sums of projects")
        constraints = [models.UniqueConstraint(fields=_OF_A_PROJECT, name="one_row_per_project_hour_cell")]
        # The constraint finds a project's; this one what all of them used in the last hours.
        indexes = [models.Index(fields=["bucket_at"], name="project_hours_by_time")]


class UsageKeyDay(UsageRollup):
    """Sums of a key and a day of UTC, kept."""

    WIDTH = "1 day"
    CELL = _OF_A_KEY

    class Meta:
        verbose_name = _("daily sum of a key")
        verbose_name_plural = _("daily sums of keys")
        constraints = [models.UniqueConstraint(fields=_OF_A_KEY, name="one_row_per_key_day_cell")]


class UsageInstallationHour(UsageSums):
    """Sums of an hour of the whole portal, by backend and outcome; kept."""

    WIDTH = "1 hour"
    CELL = _OF_ALL

    source = models.CharField(max_length=12, choices=Source)
    model = models.CharField(max_length=200)
    backend = models.CharField(max_length=60, blank=True)
    endpoint = models.CharField(max_length=40)
    status = models.PositiveSmallIntegerField()
    error_code = models.CharField(max_length=60, blank=True)

    class Meta:
        verbose_name = _("hourly sum of the portal")
        verbose_name_plural = _("hourly sums of the portal")
        constraints = [models.UniqueConstraint(fields=_OF_ALL, name="one_row_per_installation_hour_cell")]


class UsageOrganizationDay(UsageSums):
    """Sums of an organization and a day of UTC; kept."""

    WIDTH = "1 day"
    CELL = _OF_AN_ORGANIZATION

    organization_id = models.CharField(max_length=40)

    class Meta:
        verbose_name = _("daily sum of an organization")
        verbose_name_plural = _("daily sums of organizations")
        constraints = [models.UniqueConstraint(fields=_OF_AN_ORGANIZATION, name="one_row_per_organization_day")]


class BudgetAlert(models.Model):
    """When a percentage was last told of a budget in one of its periods, or of a grant, so that none is told twice.

    Without an end it is kept.
    """

    counter = models.CharField(_("counter"), max_length=300)
    percent = models.PositiveSmallIntegerField(_("percentage"))
    limit_nano = models.BigIntegerField(_("budget"))
    used_nano = models.BigIntegerField(_("used"))
    ends_at = models.DateTimeField(_("until"), null=True, db_index=True)

    class Meta:
        verbose_name = _("budget alert")
        verbose_name_plural = _("budget alerts")
        constraints = (models.UniqueConstraint(fields=["counter", "percent"], name="budget_alert_once"),)

    def __str__(self) -> str:
        return f"{self.counter} · {self.percent}%"

    def covers(self, percent: int, limit_nano: int) -> bool:
        """Whether it tells as much as this percentage of a budget of `limit_nano` would.

        Of one that was raised it does not, where so much was not used yet when it was told.
        """
        return self.percent >= percent and (
            self.limit_nano >= limit_nano or self.used_nano * 100 >= limit_nano * percent
        )


ROLLUPS: tuple[type[UsageSums], ...] = (
    UsageRollup5Min, UsageRollup15Min, UsageProjectHour, UsageKeyDay, UsageInstallationHour, UsageOrganizationDay,
)  # fmt: skip
"""Every table of sums."""


class SizeOnDay(models.Model):
    """How large the database and the files of projects were on a day of UTC, so that their pace can be told; kept."""

    day = models.DateField(_("day"), unique=True)
    database_bytes = models.BigIntegerField(_("bytes of the database"))
    files_bytes = models.BigIntegerField(_("bytes of files"))

    class Meta:
        verbose_name = _("size on a day")
        verbose_name_plural = _("sizes by day")

    def __str__(self) -> str:
        return str(self.day)


def grant_id() -> str:
    return new_id("cred")


class CreditGrantQuerySet(models.QuerySet["CreditGrant"]):
    def with_used(self) -> Self:
        """Each with `used_nano`, what calls in the ledger drew on it, and `revoked_at`."""
        used = CreditDraw.objects.filter(grant_id=models.OuterRef("public_id")).values("grant_id")
        summed = used.annotate(sum=models.Sum("nano")).values("sum")
        zero = models.Value(0, output_field=models.BigIntegerField())
        used_nano = Coalesce(models.Subquery(summed, output_field=models.BigIntegerField()), zero)
        return self.annotate(used_nano=used_nano, revoked_at=models.F("revocation__at"))

    def for_staff(self) -> Self:
        """Each as `with_used` has it, with the organization's name and time zone: none where it is gone."""
        home = Organization.objects.filter(public_id=models.OuterRef("organization_id"))
        return self.with_used().annotate(
            organization_name=models.Subquery(home.values("name")[:1]),
            organization_zone=models.Subquery(home.values("time_zone")[:1]),
        )

    def to_take_back(self) -> Self:
        """Those of which calls can still draw something, as staff see them, the newest first."""
        going_on = models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=timezone.now())
        left = models.Q(used_nano__lt=models.F("amount_nano"), revoked_at__isnull=True)
        return self.for_staff().filter(going_on & left).order_by("-pk")

    def left_to(self, organizations: Collection[str]) -> dict[str, int]:
        """What calls of each of these organizations can still draw, in one query."""
        left: Counter[str] = Counter()
        for grant in self.filter(organization_id__in=organizations).with_used():
            left[grant.organization_id] += grant.left_nano
        return left

    def of(self, organization: Organization) -> Self:
        """An organization's, in the order in which they are drawn on."""
        theirs = self.filter(organization_id=organization.public_id).with_used()
        return theirs.order_by(models.F("expires_at").asc(nulls_last=True), "pk")


class CreditGrant(models.Model):
    """Credits that staff granted an organization. Rows are only ever inserted: PostgreSQL refuses all else.

    Public identifiers rather than foreign keys, as in the ledger: a grant stays when its organization or whoever
    granted it is gone.
    """

    # What `with_used` adds.
    used_nano: int
    revoked_at: datetime | None
    # What `for_staff` adds.
    organization_name: str | None
    organization_zone: str | None

    public_id = models.CharField(max_length=40, unique=True, editable=False, default=grant_id)
    organization_id = models.CharField(_("organization"), max_length=40, db_index=True)
    amount_nano = models.BigIntegerField(_("amount"), help_text=_("In nano-dollars."))
    at_hand_nano = models.BigIntegerField(
        _("then at hand"), help_text=_("What was left of the grants before, and this one.")
    )
    reason = models.CharField(_("reason"), max_length=200)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    granted_by = models.CharField(_("granted by"), max_length=40)
    at = models.DateTimeField(_("granted"), default=timezone.now)

    objects = CreditGrantQuerySet.as_manager()

    class Meta:
        verbose_name = _("credit grant")
        verbose_name_plural = _("credit grants")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nano__gt=0, amount_nano__lte=LARGEST_MONEY),
                name="credits_of_an_amount",
                violation_error_message=_("Grant more than nothing, and at most 9 million dollars."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({exact_dollars(self.amount_nano)})"

    def clean(self) -> None:
        """Raises ValidationError for a grant that is over before it begins."""
        if self.expires_at is not None and self.expires_at <= timezone.now():
            raise ValidationError({"expires_at": _("This day is over. Choose today or a later one.")})

    @property
    def last_moment(self) -> datetime | None:
        """The end as it is shown: the last day, and not the midnight after it."""
        return last_moment(self.expires_at) if self.expires_at else None

    def last_day_in(self, zone: ZoneInfo) -> str:
        """Its last day there, with the name of the zone; empty where it does not expire."""
        return f"{self.last_moment.astimezone(zone):%Y-%m-%d} ({zone})" if self.last_moment else ""

    @property
    def unused_nano(self) -> int:
        """What was not drawn, whether or not it still can be."""
        return max(0, self.amount_nano - self.used_nano)

    @property
    def has_expired(self) -> bool:
        return self._has_expired_at(timezone.now())

    def _has_expired_at(self, moment: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= moment

    @property
    def left_nano(self) -> int:
        """What calls can still draw."""
        return self.left_nano_at(timezone.now())

    def left_nano_at(self, moment: datetime) -> int:
        """What calls can draw then, if none did until then."""
        return 0 if self._has_expired_at(moment) or self.revoked_at is not None else self.unused_nano


class CreditRevocation(models.Model):
    """Takes back what is left of a grant. Only ever inserted as well, and one for a grant: it cannot be undone."""

    grant = models.OneToOneField(CreditGrant, models.PROTECT, related_name="revocation", verbose_name=_("grant"))
    reason = models.CharField(_("reason"), max_length=200)
    revoked_by = models.CharField(_("revoked by"), max_length=40)
    at = models.DateTimeField(_("revoked"), default=timezone.now)

    class Meta:
        verbose_name = _("credit revocation")
        verbose_name_plural = _("credit revocations")

    def __str__(self) -> str:
        return str(self.grant)


class CreditDraw(models.Model):
    """What the calls of a day (UTC) drew on a grant: a sum of the ledger like those above; kept."""

    grant_id = models.CharField(_("grant"), max_length=40)
    day = models.DateField(_("day"))
    organization_id = models.CharField(_("organization"), max_length=40)
    nano = models.BigIntegerField(_("drawn"))

    class Meta:
        verbose_name = _("draw on credits")
        verbose_name_plural = _("draws on credits")
        constraints = [models.UniqueConstraint(fields=["grant_id", "day"], name="one_row_per_grant_and_day")]

    def __str__(self) -> str:
        return f"{self.grant_id} {self.day}"
