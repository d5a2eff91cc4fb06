"""API keys. A secret is shown once; what is kept of it is a keyed hash, its beginning and its last four characters."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Case, Exists, ExpressionWrapper, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from accounts.access import has_right
from accounts.models import Organization, Project, ServiceAccount, User
from accounts.roles import Right, Rights
from apikeys.verification import digests_of
from common.ids import new_id
from common.limits import Limited

# An old secret that nobody used for this long may go: at once when its successor works already, else much later.
QUIET_BESIDE_SUCCESSOR = timedelta(hours=1)
QUIET_ALONE = timedelta(days=7)
# What a key has left, at the least, when it is made to keep to a longest lifetime that came after it.
NOTICE = timedelta(days=7)


def key_id() -> str:
    return new_id("key")


def secret_id() -> str:
    return new_id("sec")


class KeyKind(models.TextChoices):
    """What a key is for; each kind has a prefix of its own."""

    PROJECT = "project", _("Project key")
    SERVICE = "service", _("Service key")
    MANAGEMENT = "management", _("Management key")


class KeyState(models.TextChoices):
    """What has become of a key."""

    ACTIVE = "active", _("Active")
    DISABLED = "disabled", _("Disabled")
    EXPIRED = "expired", _("Expired")
    STOPPED = "stopped", _("Stopped with its owner")
    REVOKED = "revoked", _("Revoked")


A_DAY = Value(timedelta(days=1))
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _goes_on(project: Project | None) -> Q:
    """That what a key rests on is there: its service account, or an account that may make keys where the key is."""
    return (
        Q(kind=KeyKind.SERVICE, service_account__removed_at=None)
        | Q(kind=KeyKind.MANAGEMENT, owner__is_active=True)
        | Q(kind=KeyKind.PROJECT, created_by__is_active=True)
        & has_right(Right.MAKE_KEYS, user="created_by", project=project or "project")
    )


def _called(text: str) -> Q:
    return Q(name__icontains=text) | Q(public_id=text) | Q(last4=text[-4:], prefix=text.partition("…")[0])


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> Self:
        return self.in_state(KeyState.ACTIVE)

    def unrevoked(self) -> Self:
        return self.filter(revoked_at=None)

    def in_state(self, state: KeyState) -> Self:
        if state is KeyState.REVOKED:
            return self.exclude(revoked_at=None)
        keys = self.filter(revoked_at=None)
        if state is KeyState.DISABLED:
            return keys.exclude(disabled_at=None)
        keys = keys.filter(disabled_at=None)
        expired = Q(expires_at__lte=timezone.now())
        if state is KeyState.EXPIRED:
            return keys.filter(expired)
        keys = keys.exclude(expired)
        return keys.going_on(state is KeyState.ACTIVE)

    def going_on(self, answer: bool = True) -> Self:
        """Keys that have not stopped with their owner, or those that have."""
        # The annotation, since the bare condition is neither true nor false for who has no role at all, and has
        # PostgreSQL expect that next to no key goes on, and so read all of them for a page of fifty.
        keys = self if "goes_on" in self.query.annotations else self.with_standing()
        return keys.filter(goes_on=answer)

    def for_keys_page(self, project: Project, user: User, rights: Rights) -> Self:
        """The project's keys that a user with these rights in it sees: all, or their own."""
        people = ("created_by", "service_account")
        keys = self.filter(project=project).select_related("project", *people).with_leaks().with_standing(project)
        return keys if Right.SEE_KEYS in rights else keys.filter(created_by=user)

    def made_by(self, user_ids: Collection[str]) -> Self:
        """Keys whose calls are those of these people, by their ids. Those of services are nobody's calls."""
        return self.filter(kind=KeyKind.PROJECT, created_by__public_id__in=user_ids)

    def makers(self) -> dict[str, str]:
        """Whose calls are made with each of these keys: a person's id by the key's. Those of services are left out."""
        found = self.filter(kind=KeyKind.PROJECT, created_by__isnull=False)
        return dict(found.values_list("public_id", "created_by__public_id"))

    def of_organization(self, organization: Organization) -> Self:
        """The keys of all its projects."""
        return self.filter(project__organization=organization)

    def of_person(self, user: User) -> Self:
        """A person's management keys."""
        return self.filter(owner=user).with_leaks().with_standing()

    def called(self, text: str) -> Self:
        """Those whose name holds `text`, or that have this id or look like this, as in `hint`."""
        return self.filter(_called(text))

    def matching(self, text: str) -> Self:
        """Those that are `called` so, or whose description holds `text`."""
        return self.filter(_called(text) | Q(description__icontains=text))

    def with_use(self) -> Self:
        """With `used_at`: when a key was last used, and long ago if never, since no page can begin at a NULL."""
        return self.annotate(used_at=Coalesce("last_used_at", NEVER))

    def with_leaks(self) -> Self:
        """With `is_leaked`: whether a secret of the key that somebody found could still open something."""
        return self.annotate(is_leaked=Exists(KeySecret.objects.leaked().filter(key=OuterRef("pk"))))

    def with_standing(self, project: Project | None = None) -> Self:
        """With `goes_on`, in the same query. Where all the keys are of one project and it is given, it is quicker."""
        return self.annotate(goes_on=Case(When(_goes_on(project), then=True), default=False))

    def outliving(self, lifetime: timedelta | None = None) -> Self:
        """Keys of projects that go on for longer than `lifetime` after their newest secret was made.

        None is what the policy of their organization says, if anything. Those that end within the week are no worry,
        nor are those that have stopped with their owner.
        """
        days = F("project__organization__key_policy__longest_lifetime_days")
        length = Value(lifetime) if lifetime else ExpressionWrapper(days * A_DAY, models.DurationField())
        newest = KeySecret.objects.filter(key=OuterRef("pk"), valid_until=None).values("created_at")
        keys = self.unrevoked().going_on().exclude(project=None).annotate(must_end=Subquery(newest) + length)
        too_late = Q(expires_at__gt=F("must_end")) & Q(expires_at__gt=timezone.now() + NOTICE)
        # Without a policy there is no moment that they must end.
        return keys.filter(Q(expires_at=None, must_end__isnull=False) | too_late)

    def behind(self, secret: str) -> Self:
        """The key that `secret` is or was a secret of, whatever has become of it; none for what cannot be a key."""
        digests = digests_of(secret)
        # Junk has no digest, and costs no query.
        return self.filter(secrets__digest__in=digests).distinct() if digests else self.none()


class ApiKey(Limited):
    """A key of a project, or (a management key) of a person. Its secrets come and go; what it may do stays with it.

    Empty lists mean that nothing is left out: every model, every endpoint, any address.
    """

    public_id = models.CharField(max_length=40, unique=True, default=key_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, related_name="api_keys")
    owner = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="management_keys",
        verbose_name=_("owner"),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=KeyKind, default=KeyKind.PROJECT, editable=False)
    service_account = models.ForeignKey(
        ServiceAccount, on_delete=models.CASCADE, null=True, blank=True, editable=False, related_name="api_keys"
    )
    name = models.CharField(_("name"), max_length=80)
    description = models.CharField(_("description"), max_length=200, blank=True)
    # Of the newest secret.
    prefix = models.CharField(_("prefix"), max_length=20, editable=False)
    last4 = models.CharField(_("last four characters"), max_length=4, editable=False)
    # Names rather than rows: a model taken out of the catalog must not leave an empty list, which allows everything.
    allowed_models = ArrayField(models.CharField(max_length=200), verbose_name=_("models"), default=list, blank=True)
    allowed_endpoints = ArrayField(
        models.CharField(max_length=40), verbose_name=_("endpoints"), default=list, blank=True
    )
    allowed_networks = ArrayField(
        models.CharField(max_length=43), verbose_name=_("IP addresses"), default=list, blank=True
    )
    is_read_only = models.BooleanField(_("reads only"), default=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    # One per opened form, so that a second click or a reload makes no second key.
    submission = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(_("disabled at"), null=True, blank=True, editable=False)
    # When any secret of it was found last, also one that has ended since.
    leaked_at = models.DateTimeField(_("seen leaked at"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    revoked_by = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("revoked by"),
    )

    # Of those that `outliving` gives: when the policy wants an end.
    must_end: datetime

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(
                fields=["created_by", "submission"], condition=~models.Q(submission=""), name="a_form_makes_one_key"
            ),
            models.CheckConstraint(
                condition=(
                    Q(kind=KeyKind.MANAGEMENT, owner__isnull=False, project=None, service_account=None)
                    | Q(kind=KeyKind.SERVICE, owner=None, project__isnull=False, service_account__isnull=False)
                    | Q(kind=KeyKind.PROJECT, owner=None, project__isnull=False, service_account=None)
                ),
                name="a_key_is_of_a_project_or_a_person",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="key_by_project"),
            models.Index(fields=["project", "name", "id"], name="key_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"

    @property
    def hint(self) -> str:
        """What identifies the key on a page without being any use to a thief."""
        return f"{self.prefix}…{self.last4}"

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at is not None

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def ends_with_project(self) -> bool:
        """Whether the end of its project comes before its own."""
        ends_at = self.project.ends_at if self.project else None
        return ends_at is not None and (self.expires_at is None or ends_at < self.expires_at)

    @property
    def is_bound(self) -> bool:
        """Whether it works from some addresses only, or until some time."""
        return bool(self.allowed_networks) or self.expires_at is not None

    @property
    def is_management(self) -> bool:
        return self.kind == KeyKind.MANAGEMENT

    @property
    def state(self) -> KeyState:
        if self.is_revoked:
            return KeyState.REVOKED
        if self.is_disabled:
            return KeyState.DISABLED
        if self.is_expired:
            return KeyState.EXPIRED
        return KeyState.ACTIVE if self.goes_on else KeyState.STOPPED

    @cached_property
    def goes_on(self) -> bool:
        """Whether the key has not stopped with its owner; lists get it by `with_standing`."""
        return ApiKey.objects.going_on().filter(pk=self.pk).exists()

    @property
    def organization(self) -> Organization | None:
        """Whose key it is; None for a person's own."""
        return self.project.organization if self.project else None


class KeySecretQuerySet(models.QuerySet["KeySecret"]):
    def valid(self) -> Self:
        return self.exclude(valid_until__lte=timezone.now())

    def leaked(self) -> Self:
        """Those that were found where they should not be, and have not ended."""
        return self.valid().exclude(leaked_at=None)

    def by_pepper(self) -> dict[int, int]:
        """How many secrets that work, or would once their key is enabled again, hang on each version of the pepper."""
        now = timezone.now()
        alive = self.valid().filter(key__revoked_at=None).exclude(key__expires_at__lte=now)
        rows = alive.values("pepper_version").annotate(secrets=models.Count("pk")).order_by("pepper_version")
        return {row["pepper_version"]: row["secrets"] for row in rows}

    def for_calls(self) -> Self:
        """Secrets of keys that may make calls, if their makers still may: with all that a policy is made of."""
        return self.filter(
            key__kind__in=[KeyKind.PROJECT, KeyKind.SERVICE],
            key__revoked_at=None,
            key__disabled_at=None,
            key__project__archived_at=None,
            key__service_account__removed_at=None,
        ).select_related(
            "key__project__organization__key_policy",
            "key__project__organization__plan",
            "key__created_by",
            "key__service_account",
        )

    def for_management(self) -> Self:
        """Secrets that open the REST API now, for people whose account is not switched off."""
        return (
            self.valid()
            .filter(
                key__kind=KeyKind.MANAGEMENT, key__revoked_at=None, key__disabled_at=None, key__owner__is_active=True
            )
            .exclude(key__expires_at__lte=timezone.now())
            .select_related("key__owner")
        )


class KeySecret(models.Model):
    """One secret of a key. `digest` is HMAC-SHA256 of the whole secret under the pepper named by `pepper_version`.

    The newest has no `valid_until`; older ones work until theirs. Where it was last used from is overwritten, never
    collected.
    """

    public_id = models.CharField(max_length=40, unique=True, default=secret_id, editable=False)
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="secrets", verbose_name=_("key"))
    prefix = models.CharField(_("prefix"), max_length=20, editable=False)
    last4 = models.CharField(_("last four characters"), max_length=4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(_("pepper"), editable=False)
    submission = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    last_used_address = models.GenericIPAddressField(_("last used from"), null=True, blank=True, editable=False)
    last_used_agent = models.CharField(_("last used by"), max_length=200, blank=True, editable=False)
    leaked_at = models.DateTimeField(_("seen leaked at"), null=True, blank=True, editable=False)

    objects = KeySecretQuerySet.as_manager()

    class Meta:
        verbose_name = _("secret of a key")
        verbose_name_plural = _("secrets of keys")
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(valid_until=None), name="one_newest_secret"),
            models.UniqueConstraint(
                fields=["key", "submission"], condition=~Q(submission=""), name="a_form_makes_one_secret"
            ),
        ]

    def __str__(self) -> str:
        return self.hint

    @property
    def hint(self) -> str:
        return f"{self.prefix}…{self.last4}"

    @property
    def is_newest(self) -> bool:
        return self.valid_until is None

    @property
    def is_valid(self) -> bool:
        return self.valid_until is None or self.valid_until > timezone.now()

    def is_safe_to_retire(self, successor: "KeySecret") -> bool:
        """Whether nobody seems to use this secret any more: its successor is in use and it is not, or for a week."""
        quiet = timezone.now() - max(self.last_used_at or successor.created_at, successor.created_at)
        return quiet >= (QUIET_BESIDE_SUCCESSOR if successor.last_used_at else QUIET_ALONE)


class KeyMakers(models.TextChoices):
    """Who may make keys in the projects of an organization."""

    MEMBERS = "members", _("Everybody who takes part in a project")
    ADMINS = "admins", _("Admins only")


class KeyPolicyManager(models.Manager["KeyPolicy"]):
    def of(self, organization: Organization) -> "KeyPolicy":
        """The organization's policy; one that demands nothing when it has made none."""
        return self.filter(organization=organization).first() or KeyPolicy(organization=organization)


class KeyPolicy(models.Model):
    """What an organization demands of the keys of its projects."""

    organization = models.OneToOneField(Organization, on_delete=models.CASCADE, related_name="key_policy")
    longest_lifetime_days = models.PositiveIntegerField(_("longest lifetime in days"), null=True, blank=True)
    default_budget_nano = models.BigIntegerField(_("default budget per month"), null=True, blank=True)
    allowed_networks = ArrayField(
        models.CharField(max_length=43), verbose_name=_("IP addresses"), default=list, blank=True
    )
    makers = models.CharField(_("who may make keys"), max_length=10, choices=KeyMakers, default=KeyMakers.MEMBERS)
    revokes_leaked = models.BooleanField(_("revoke leaked keys at once"), default=True)

    objects = KeyPolicyManager()

    class Meta:
        verbose_name = _("policy for keys")
        verbose_name_plural = _("policies for keys")

    def __str__(self) -> str:
        return str(self.organization)

    def lets_make(self, rights: Rights) -> bool:
        """Whether somebody with these rights in a project may make keys there."""
        return (Right.MANAGE_KEYS if self.makers == KeyMakers.ADMINS else Right.MAKE_KEYS) in rights

    def latest_expiry(self, created_at: datetime) -> datetime | None:
        """When a key made at that moment must have expired; None when it never must."""
        if self.longest_lifetime_days is None:
            return None
        return created_at + timedelta(days=self.longest_lifetime_days)
