"""Plans as people see them before they choose: what each allows at what price, and what a choice would leave behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.functional import Promise

from accounts.models import Organization, Plan
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common.limits import LABELS, limit_in_words
from usage.counters import used_of
from usage.meters import by_limit, used_in_words
from usage.models import Source, UsageRollup15Min
from usage.periods import periods_at
from usage.policies import PLAN, Caller, Scope

# How far back a call makes it likely that a model will be missed.
MISSED = timedelta(days=30)
MOST_NAMED = 20


@dataclass(frozen=True)
class Offer:
    """A plan with the models that it is for, each at its price there. No plan is one as well, of all models."""

    plan: Plan | None
    models: list[HostedModel]


@dataclass(frozen=True)
class ComparedLimit:
    """A limit that one of two plans sets, in words; empty where it sets none."""

    label: str | Promise
    now: str
    then: str

    @property
    def is_changed(self) -> bool:
        return self.now != self.then


@dataclass(frozen=True)
class ComparedModel:
    """A model that one of two plans is for, as it is under each; None where it is not for it."""

    name: str
    now: HostedModel | None
    then: HostedModel | None

    @property
    def is_changed(self) -> bool:
        return _price(self.now) != _price(self.then)


@dataclass(frozen=True)
class Comparison:
    """What another plan would change. Models that stay as they are stand apart, for there may be many."""

    limits: list[ComparedLimit]
    changed: list[ComparedModel]
    same: list[ComparedModel]


@dataclass(frozen=True)
class Exceeded:
    """A limit of a plan that is reached already, in words."""

    label: str | Promise
    used: str
    limit: str


@dataclass(frozen=True)
class Consequences:
    """What a plan would bring an organization to a stop with, as things stand."""

    keys: list[ApiKey]
    """Those that name models which the plan is not for; the first of them."""
    models: list[str]
    """Those that were called in the last month and which the plan is not for."""
    exceeded: list[Exceeded]

    @property
    def are_none(self) -> bool:
        return not (self.keys or self.models or self.exceeded)


def offer_of(plan: Plan | None, models: Sequence[HostedModel]) -> Offer:
    """The plan with those of `models` that it is for."""
    return Offer(plan, [model.under(plan) for model in models if plan is None or plan.allows(model.public_name)])


def compared(now: Offer, then: Offer) -> Comparison:
    """Two plans side by side."""
    before, after = (dict(offer.plan.limits_in_words) if offer.plan else {} for offer in (now, then))
    limits = [
        ComparedLimit(label, before.get(label, ""), after.get(label, ""))
        for label in LABELS.values()
        if label in before or label in after
    ]
    held, offered = ({model.public_name: model for model in offer.models} for offer in (now, then))
    models = [ComparedModel(name, held.get(name), offered.get(name)) for name in {**held, **offered}]
    return Comparison(
        limits, [model for model in models if model.is_changed], [model for model in models if not model.is_changed]
    )


def _price(model: HostedModel | None) -> tuple[int, int] | None:
    return None if model is None else (model.input_price_nano, model.output_price_nano)


def consequences_of(plan: Plan, organization: Organization) -> Consequences:
    """What would stop if the organization came onto the plan now."""
    if not plan.allowed_models:
        return Consequences([], [], _exceeded(plan, organization))
    keys = ApiKey.objects.of_organization(organization).usable().exclude(allowed_models=[])
    left_out = keys.exclude(allowed_models__contained_by=plan.allowed_models).select_related("project")
    projects = list(organization.projects.values_list("public_id", flat=True))
    called = UsageRollup15Min.objects.of_projects(projects).since(timezone.now() - MISSED).called_models()
    return Consequences(
        list(left_out.order_by("-created_at")[:MOST_NAMED]),
        [model for model in called if not plan.allows(model)],
        _exceeded(plan, organization),
    )


def _exceeded(plan: Plan, organization: Organization) -> list[Exceeded]:
    scope = Scope(PLAN, organization.public_id, plan.limits)
    caller = Caller(Source.KEY, organization.public_id, project_id="", key_id="", user_id="", scopes=(scope,))
    used = by_limit(*(used_of(caller, scope, period) for period in periods_at(timezone.now(), organization.time_zone)))
    return [
        Exceeded(
            LABELS[name],
            used_in_words(name, spent),
            limit_in_words(name, limit),
        )
        for name, spent in used.items()
        if (limit := getattr(plan, name)) is not None and spent >= limit
    ]
