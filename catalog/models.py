"""Backends, the models they host, and where each model runs."""

from copy import copy
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Prefetch, Q, Value, When
from django.db.models.functions import Cast, Concat, Lower
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Plan
from common.fields import EncryptedTextField, UndecryptableError
from common.http import validate_base_url
from common.limits import Limited
from common.moments import today
from common.money import exact_dollars
from inference.uses import Use

SHORTEST_HINTED_CREDENTIAL = 12
MOST_WEIGHT = 100
LAST_PRIORITY = 100
SHORTEST_TIMEOUT_SECONDS = 0.1
LONGEST_TIMEOUT_SECONDS = 3600.0


class BackendKind(models.TextChoices):
    """What server answers at a backend's address; quirks are handled by kind."""

    VLLM = "vllm", "vLLM"
    SGLANG = "sglang", "SGLang"
    LLAMA_CPP = "llama.cpp", "llama.cpp"
    OLLAMA = "ollama", "Ollama"
    TGI = "tgi", "Text Generation Inference"
    OPENAI = "openai", _("OpenAI-compatible server")


class Fault(models.TextChoices):
    """Why a backend cannot be used. The first five are common.http.Failure's."""

    TIMEOUT = "timeout", _("It gave no answer in time.")
    REFUSED = "refused", _("Nothing listens at this address.")
    UNKNOWN_HOST = "unknown_host", _("No machine of this name is known here.")
    TLS = "tls", _("No encrypted connection: its certificate is not trusted, or it speaks plain HTTP.")
    BROKEN = "broken", _("The connection broke off.")
    UNAUTHORIZED = "unauthorized", _("It does not accept the credential, or wants one.")
    NOT_OPENAI = "not_openai", _("Something answers, but it is not an OpenAI-compatible server.")
    REDIRECTS = "redirects", _("It sends callers to another address, which is not followed: enter that one.")
    ERROR_STATUS = "error_status", _("It answers with an error.")
    NO_MODELS = "no_models", _("It serves no model.")
    UNDECRYPTABLE = "undecryptable", _("Its credential can no longer be decrypted: enter it again.")

    def in_words(self, detail: str) -> str:
        return f"{self.label} ({detail})" if detail else str(self.label)


class Availability(models.TextChoices):
    """How much of what serves a model answered the last check."""

    WORKING = "working", _("Working")
    PARTLY = "partly", _("Partly working")
    DOWN = "down", _("Not answering")
    UNKNOWN = "unknown", _("Not checked yet")


class BackendQuerySet(models.QuerySet["Backend"]):
    def enabled(self) -> Self:
        return self.filter(is_enabled=True)

    def with_sealed_credential(self) -> Self:
        """Each with its credential as it is stored, in `sealed`: one that no longer decrypts breaks no query."""
        return self.annotate(sealed=Cast("credential", models.TextField()))

    def for_backends_page(self) -> Self:
        deployments = Deployment.objects.select_related("hosted_model").order_by("hosted_model__public_name")
        return self.prefetch_related(Prefetch("deployments", queryset=deployments)).order_by("name")

    def matching(self, text: str) -> Self:
        """Those whose name or address holds `text`, or that serve a model whose name does."""
        serves = Deployment.objects.filter(backend=models.OuterRef("pk"), hosted_model__public_name__icontains=text)
        return self.filter(models.Q(name__icontains=text) | models.Q(base_url__icontains=text) | models.Exists(serves))


_BackendManager = models.Manager.from_queryset(BackendQuerySet)


class BackendManager(_BackendManager["Backend"]):
    """Leaves the credential unread until it is asked for: one that no longer decrypts must not break a list."""

    def get_queryset(self) -> BackendQuerySet:
        return BackendQuerySet(self.model, using=self._db).defer("credential")


class Backend(models.Model):
    """An inference server. `base_url` is what an SDK would be given; paths such as `/chat/completions` follow it."""

    name = models.SlugField(
        _("name"), max_length=60, unique=True, help_text=_("Letters, digits and hyphens; developers do not see it.")
    )
    base_url = models.CharField(_("address"), max_length=400, validators=[validate_base_url])
    kind = models.CharField(_("server"), max_length=20, choices=BackendKind, default=BackendKind.OPENAI)
    credential = EncryptedTextField(_("credential"), blank=True, default="")
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_embedded = models.BooleanField(_("demonstration model"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    checked_at = models.DateTimeField(_("checked at"), null=True, blank=True, editable=False)
    is_healthy = models.BooleanField(_("healthy"), null=True, editable=False)
    fault = models.CharField(_("fault"), max_length=20, choices=Fault, blank=True, editable=False)
    fault_detail = models.CharField(max_length=40, blank=True, editable=False)
    latency_ms = models.PositiveIntegerField(_("answer time of the last check"), null=True, editable=False)

    objects = BackendManager()

    if TYPE_CHECKING:
        sealed: str  # set by with_sealed_credential
        running: int | None  # set by note_running

    class Meta:
        verbose_name = _("backend")
        verbose_name_plural = _("backends")
        ordering = ["name"]
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(fields=["is_embedded"], condition=Q(is_embedded=True), name="one_embedded_backend"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def fault_in_words(self) -> str:
        """What the last check found wrong; empty when nothing."""
        return Fault(self.fault).in_words(self.fault_detail) if self.fault else ""

    @property
    def credential_hint(self) -> str:
        """What staff may see of the credential: empty when none is set, never enough to use."""
        try:
            credential = self.credential
        except UndecryptableError:
            return str(_("set, but no longer readable: enter it again"))
        if not credential:
            return ""
        # Four characters of a short secret would be a good part of it.
        return f"…{credential[-4:]}" if len(credential) >= SHORTEST_HINTED_CREDENTIAL else "…"


USES = [
    (Use.CHAT, _("Chat")),
    (Use.EMBEDDINGS, _("Embeddings")),
    (Use.RERANKING, _("Reranking")),
    (Use.MODERATION, _("Moderation")),
    (Use.TRANSCRIPTION, _("Transcription")),
    (Use.SPEECH, _("Speech")),
    (Use.IMAGES, _("Pictures")),
]
"""What a model can be used for, in words."""


def chat_only() -> list[str]:
    return [Use.CHAT]


BEST_FIRST = ("-may_answer", "is_demonstration", "public_name")


class HostedModelQuerySet(models.QuerySet["HostedModel"]):
    def offered(self) -> Self:
        """Models a caller may name: visible, not retired, and with a deployment on an enabled backend."""
        serving = Exists(Deployment.objects.serving().filter(hosted_model=OuterRef("pk")))
        return self.filter(serving, is_visible=True).exclude(retires_on__lte=today())

    def best_first(self) -> Self:
        """In the order to recommend them: what answers before what does not, the demonstration model last, by name."""
        # What was not checked yet may well answer.
        may_answer = Deployment.objects.serving().exclude(backend__is_healthy=False)
        return self.annotate(may_answer=Exists(may_answer.filter(hosted_model=OuterRef("pk")))).order_by(*BEST_FIRST)

    def for_use(self, use: Use) -> Self:
        return self.filter(uses__contains=[use])

    def chat_first(self) -> Self:
        """In the order to show them to a newcomer: what chats before what does not."""
        return self.best_first().annotate(chat=Q(uses__contains=[Use.CHAT])).order_by("-chat", *BEST_FIRST)

    def for_chat(self) -> Self:
        """Offered models that chat, the one to recommend first."""
        return self.offered().for_use(Use.CHAT).best_first()

    def for_models_page(self) -> Self:
        """Offered models with what serves them in `serving`, by `sort_name`: the demonstration model last."""
        serving = Deployment.objects.serving().select_related(None).prefetch_related("backend")
        return (
            self.offered()
            .select_related("successor")
            .prefetch_related(Prefetch("deployments", queryset=serving, to_attr="serving"), "aliases")
            .annotate(sort_name=Concat(Cast("is_demonstration", models.CharField()), Lower("public_name")))
            .order_by("sort_name", "pk")
        )

    def in_plan(self, plan: Plan | None) -> Self:
        """Those that organizations on the plan may use; all of them without one."""
        return self.filter(public_name__in=plan.allowed_models) if plan is not None and plan.allowed_models else self

    def priced_under(self, plan: Plan | None) -> Self:
        """With `price_nano`, what output costs organizations on the plan, to sort by."""
        prices = plan.prices if plan is not None else {}
        own = [When(public_name=name, then=Value(output)) for name, (_input, output) in prices.items()]
        output = models.BigIntegerField()
        return self.annotate(price_nano=Case(*own, default=F("output_price_nano"), output_field=output))

    def matching(self, text: str) -> Self:
        """Those whose name or description holds `text`."""
        return self.filter(Q(public_name__icontains=text) | Q(description__icontains=text))


class HostedModel(Limited):
    """A model under the name developers call it by. Prices are nano-dollars per million tokens; zero is free.

    Its limits are what each organization may use of it.
    """

    public_name = models.CharField(_("name"), max_length=200, unique=True)
    description = models.TextField(_("description"), blank=True)
    context_window = models.PositiveIntegerField(
        _("context window"), null=True, blank=True, help_text=_("In tokens; empty when the server does not say.")
    )
    max_output_tokens = models.PositiveIntegerField(_("most tokens in an answer"), null=True, blank=True)
    input_price_nano = models.BigIntegerField(
        _("price of a million input tokens"),
        default=0,
        validators=[MinValueValidator(0)],
        help_text=_("In nano-dollars."),
    )
    output_price_nano = models.BigIntegerField(
        _("price of a million output tokens"),
        default=0,
        validators=[MinValueValidator(0)],
        help_text=_("In nano-dollars."),
    )
    uses = ArrayField(
        models.CharField(max_length=20, choices=USES), verbose_name=_("uses"), default=chat_only, blank=True
    )
    is_visible = models.BooleanField(_("visible to developers"), default=True)
    fallback = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("fallback"),
        help_text=_("The model that answers while no server of this one can."),
    )
    deprecated_on = models.DateField(
        _("deprecated on"),
        null=True,
        blank=True,
        help_text=_("From this day on (UTC) the models page advises against it; answers say the day in a header."),
    )
    retires_on = models.DateField(
        _("retires on"),
        null=True,
        blank=True,
        help_text=_("From this day on (UTC) calls are refused as for a model that does not exist."),
    )
    successor = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("successor"),
        help_text=_("The model to use instead. Refusals after the last day name it."),
    )
    is_demonstration = models.BooleanField(_("demonstration model"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = HostedModelQuerySet.as_manager()
    # By a plan; set by under.
    is_left_out = False

    if TYPE_CHECKING:
        serving: list["Deployment"]  # set by for_models_page

    class Meta:
        verbose_name = _("hosted model")
        verbose_name_plural = _("hosted models")
        constraints = [
            models.CheckConstraint(
                condition=Q(input_price_nano__gte=0) & Q(output_price_nano__gte=0), name="prices_are_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.public_name

    @property
    def is_free(self) -> bool:
        return self.input_price_nano == 0 and self.output_price_nano == 0

    def clean(self) -> None:
        if self.fallback is not None and self.is_fallback_of(self.fallback):
            raise ValidationError({"fallback": _("This model would fall back on itself.")})
        if self.successor is not None and self.successor == self:
            raise ValidationError({"successor": _("A model cannot succeed itself.")})
        if self.deprecated_on and self.retires_on and self.retires_on < self.deprecated_on:
            raise ValidationError({"retires_on": _("It cannot retire before it is deprecated.")})

    @property
    def is_deprecated(self) -> bool:
        return self.deprecated_on is not None and self.deprecated_on <= today()

    def is_fallback_of(self, other: "HostedModel") -> bool:
        """Whether `other` is this model, or falls back on it sooner or later."""
        seen: set[int] = set()
        following: HostedModel | None = other
        while following is not None and following.pk not in seen:
            if following.pk == self.pk:
                return True
            seen.add(following.pk)
            following = following.fallback
        return False

    def under(self, plan: Plan | None) -> "HostedModel":
        """The model as it is to organizations on the plan. For reading: it is not to be saved."""
        model = copy(self)
        model.is_left_out = plan is not None and not plan.allows(self.public_name)
        if plan is not None and self.public_name in plan.prices:
            model.input_price_nano, model.output_price_nano = plan.prices[self.public_name]
        return model

    @property
    def other_names(self) -> list[str]:
        return [alias.name for alias in self.aliases.all()]

    @property
    def chats(self) -> bool:
        return Use.CHAT in self.uses

    @property
    def embeds(self) -> bool:
        return Use.EMBEDDINGS in self.uses

    @property
    def uses_in_words(self) -> str:
        """What it can be used for, for reading; empty when staff ticked nothing."""
        return ", ".join(str(label) for use, label in USES if use in self.uses)

    @property
    def input_price(self) -> str:
        """Dollars for a million input tokens, for reading."""
        return exact_dollars(self.input_price_nano)

    @property
    def output_price(self) -> str:
        """Dollars for a million output tokens, for reading."""
        return exact_dollars(self.output_price_nano)

    @property
    def about(self) -> str:
        """The description in the reader's language where we wrote it ourselves, else as staff wrote it."""
        return gettext(self.description) if self.is_demonstration and self.description else self.description

    @property
    def availability(self) -> Availability:
        """Whether a call would be answered now, from the `serving` that `for_models_page` fetched."""
        answers = [deployment.backend.is_healthy for deployment in self.serving]
        if all(answer is None for answer in answers):
            return Availability.UNKNOWN
        if not any(answers):
            return Availability.DOWN
        return Availability.WORKING if all(answers) else Availability.PARTLY


class ModelPriceQuerySet(models.QuerySet["ModelPrice"]):
    def history_of(self, hosted_model: HostedModel) -> Self:
        """What the model has cost, the price that holds first; empty while it has never changed."""
        return self.filter(model=hosted_model.public_name).select_related("set_by").order_by("-since", "-pk")


class ModelPrice(models.Model):
    """What a model costs from a moment on, until the next row of its name. Rows are only ever inserted.

    By its name, as in the ledger: what was paid stays explained when the model is gone.
    """

    model = models.CharField(_("model"), max_length=200)
    since = models.DateTimeField(_("since"), default=timezone.now)
    input_price_nano = models.BigIntegerField(_("price of a million input tokens"))
    output_price_nano = models.BigIntegerField(_("price of a million output tokens"))
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("set by")
    )

    objects = ModelPriceQuerySet.as_manager()

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        indexes = [models.Index(fields=["model", "-since"], name="prices_of_model")]

    def __str__(self) -> str:
        return f"{self.model} {self.since:%Y-%m-%d}"

    @property
    def input_price(self) -> str:
        """Dollars for a million input tokens, for reading."""
        return exact_dollars(self.input_price_nano)

    @property
    def output_price(self) -> str:
        """Dollars for a million output tokens, for reading."""
        return exact_dollars(self.output_price_nano)


class ModelAlias(models.Model):
    """Another name for a hosted model, such as one that programs were written for elsewhere. Answers, usage and keys
    know the model by its own name alone, and a model's own name goes before another's alias."""

    name = models.CharField(_("name"), max_length=200, unique=True)
    hosted_model = models.ForeignKey(
        HostedModel, on_delete=models.CASCADE, related_name="aliases", verbose_name=_("hosted model")
    )

    class Meta:
        verbose_name = _("alias")
        verbose_name_plural = _("aliases")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if HostedModel.objects.filter(public_name=self.name).exists():
            raise ValidationError({"name": _("A model of this name is hosted here.")})


SERVING = Q(is_enabled=True, backend__is_enabled=True)


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    def serving(self) -> Self:
        """Where calls may go: enabled, on an enabled backend."""
        return self.filter(SERVING)

    def health(self) -> "models.QuerySet[Deployment, tuple[str, str, bool | None]]":
        """The model, the backend, and whether it answered: of each place where calls may go and that was checked."""
        places = self.serving().exclude(backend__is_healthy=None).order_by("hosted_model__public_name", "backend__name")
        return places.values_list("hosted_model__public_name", "backend__name", "backend__is_healthy").distinct()

    def with_both_ends(self) -> Self:
        """Each with its model and its backend."""
        # The backend not by the same join: that would read, and need to decrypt, its credential.
        return self.select_related("hosted_model").prefetch_related("backend")


def _timeout(name: Any, help_text: Any) -> "models.FloatField[float | None, float | None]":
    """Seconds that a phase of a call may take; None is what the installation's settings say."""
    return models.FloatField(
        name,
        null=True,
        blank=True,
        validators=[MinValueValidator(SHORTEST_TIMEOUT_SECONDS), MaxValueValidator(LONGEST_TIMEOUT_SECONDS)],
        help_text=help_text,
    )


class Deployment(models.Model):
    """A hosted model on one backend, under the name that backend knows it by."""

    hosted_model = models.ForeignKey(
        HostedModel, on_delete=models.CASCADE, related_name="deployments", verbose_name=_("hosted model")
    )
    backend = models.ForeignKey(
        Backend, on_delete=models.CASCADE, related_name="deployments", verbose_name=_("backend")
    )
    backend_name = models.CharField(_("name at the backend"), max_length=300)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    priority = models.PositiveSmallIntegerField(
        _("priority"),
        default=0,
        validators=[MaxValueValidator(LAST_PRIORITY)],
        help_text=_("Calls go to the deployment with the lowest number; to others only while that one does not work."),
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_WEIGHT)],
        help_text=_("Among deployments of the same priority, one of weight 3 gets three times the calls of one of 1."),
    )
    most_in_flight = models.PositiveIntegerField(
        _("most calls at the same time"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Of each process of the gateway, which counts its own calls alone: with four processes and 8 here, the "
            "server gets up to 32. Empty for no bound."
        ),
    )
    connect_timeout_seconds = _timeout(
        _("seconds to connect"), _("How long connecting may take before another deployment is tried.")
    )
    first_byte_timeout_seconds = _timeout(
        _("seconds to the first byte"), _("How long the server may take to begin its answer.")
    )
    idle_timeout_seconds = _timeout(_("seconds of silence"), _("How long an answer may pause once it has begun."))
    total_timeout_seconds = _timeout(_("seconds in all"), _("How long one call may take altogether."))
    # A model that went away by itself comes back by itself; one that staff switched off stays off.
    vanished_at = models.DateTimeField(_("no longer listed since"), null=True, blank=True, editable=False)
    context_window = models.PositiveIntegerField(_("context window here"), null=True, blank=True, editable=False)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")
        constraints = [
            models.UniqueConstraint(fields=["backend", "backend_name"], name="one_deployment_per_backend_name"),
            models.CheckConstraint(condition=Q(weight__gte=1, weight__lte=MOST_WEIGHT), name="weight_is_of_use"),
        ]

    def __str__(self) -> str:
        return f"{self.hosted_model} @ {self.backend}"
