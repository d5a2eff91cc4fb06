"""`/v1/organization/usage/…` and `/v1/organization/costs`: the usage that a key's owner sees, in OpenAI's shape."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apikeys.models import ApiKey
from common.errors import InvalidValueError
from inference.endpoints import ENDPOINTS
from inference.uses import Use
from usage.models import Source
from usage.organization.asked import Asked, Parameters
from usage.organization.buckets import DAY, HOUR, MINUTE, Scale, Used, usage_in_buckets
from usage.sight import seen_of, sights

CURSOR = re.compile(r"page_([0-9a-f]{1,12})")
NANO_DOLLARS = 1_000_000_000
SCALES = {
    "1m": Scale(MINUTE, usual=60, most=1440),
    "1h": Scale(HOUR, usual=24, most=168),
    "1d": Scale(DAY, usual=7, most=31),
}
FILTERS = ("project_ids", "user_ids", "api_key_ids", "models")
Figures = Callable[[Used, Collection[str]], dict[str, Any]]


@dataclass(frozen=True)
class Report:
    """What is told of usage at one address.

    `groups` are the words of `group_by` with the dimension that each stands for, `constants` those that stand for what
    is the same for every call here. `figures` makes the numbers of a result, knowing what is grouped by.
    """

    name: str
    of: Q
    figures: Figures
    groups: Mapping[str, str]
    filters: Sequence[str]
    constants: Mapping[str, object] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=lambda: SCALES)
    in_whole_days: bool = False

    def __call__(self, asked: Asked) -> dict[str, Any]:
        """A page of it."""
        given = asked.parameters
        given.refuse_all_but(("start_time", "end_time", "bucket_width", "group_by", "limit", "page", *self.filters))
        scale = self.scales[given.word("bucket_width", self.scales) or "1d"]
        limit = given.limit(usual=scale.usual, most=scale.most)
        wanted = given.words("group_by", (*self.groups, *self.constants))
        # What is used in the second that runs is there as well.
        now = int(timezone.now().timestamp()) + 1
        start, end = _time(given, now=now)
        if self.in_whole_days:
            start, end = start // DAY * DAY, -(-end // DAY) * DAY
        page = usage_in_buckets(
            self.of & _narrowed(asked),
            dimensions=[dimension for word, dimension in self.groups.items() if word in wanted],
            scale=scale,
            start=start,
            end=end,
            limit=limit,
            now=now,
        )
        constants = {word: value if word in wanted else None for word, value in self.constants.items()}
        return {
            "object": "page",
            "data": [
                {
                    "object": "bucket",
                    "start_time": bucket.start,
                    "end_time": bucket.end,
                    "results": [
                        {
                            "object": self.name,
                            **self.figures(used, wanted),
                            **{word: names.get(dimension) for word, dimension in self.groups.items()},
                            **constants,
                        }
                        for names, used in bucket.results
                    ],
                }
                for bucket in page.buckets
            ],
            "has_more": page.next_start is not None,
            "next_page": None if page.next_start is None else f"page_{page.next_start:x}",
        }


def _time(given: Parameters, *, now: int) -> tuple[int, int]:
    """The seconds from which and until which is asked, no further than now."""
    start, end, cursor = given.required_moment("start_time"), given.moment("end_time"), given.text("page")
    if end is not None and end <= start:
        raise InvalidValueError("end_time", "a time after start_time")
    if cursor is not None:
        match = CURSOR.fullmatch(cursor)
        if match is None or int(match[1], 16) < start:
            raise InvalidValueError("page", "the next_page of an earlier answer to the same question")
        start = int(match[1], 16)
    return start, now if end is None else min(end, now)


def _narrowed(asked: Asked) -> Q:
    """The condition that keeps what is seen and asked for, of the roll-ups and of the ledger alike."""
    given, projects = asked.parameters, asked.projects()
    if wanted := given.texts("project_ids"):
        projects = projects.filter(public_id__in=wanted)
    condition = seen_of(sights(asked.user, list(projects)))
    if models := given.texts("models"):
        condition &= Q(model__in=models)
    if keys := given.texts("api_key_ids"):
        condition &= Q(key_id__in=keys)
    if people := given.texts("user_ids"):
        made = ApiKey.objects.made_by(people)
        condition &= Q(user_id__in=people) | Q(key_id__in=made.values("public_id"))
    if (of_batches := given.flag("batch")) is not None:
        of_a_batch = Q(source=Source.BATCH)
        condition &= of_a_batch if of_batches else ~of_a_batch
    return condition


def _that_need(use: Use) -> Q:
    return Q(endpoint__in=[path for path, endpoint in ENDPOINTS.items() if endpoint.needs == use])


def _completions(used: Used, wanted: Collection[str]) -> dict[str, Any]:
    return {
        "input_tokens": used.prompt_tokens,
        "input_cached_tokens": used.cached_tokens,
        "input_uncached_tokens": used.prompt_tokens - used.cached_tokens,
        "output_tokens": used.completion_tokens,
        # Servers count sounds among the other tokens.
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": used.requests,
    }


def _tokens_read(used: Used, wanted: Collection[str]) -> dict[str, Any]:
    return {"input_tokens": used.prompt_tokens, "num_model_requests": used.requests}


def _requests(unit: str) -> Figures:
    # What is not counted in tokens is not counted here: the published types want a number all the same.
    return lambda used, _wanted: {unit: 0, "num_model_requests": used.requests}


def _costs(used: Used, wanted: Collection[str]) -> dict[str, Any]:
    by_line_item = "line_item" in wanted
    return {
        "amount": {"value": used.cost_nano / NANO_DOLLARS, "currency": "usd"},
        "quantity": used.prompt_tokens + used.completion_tokens if by_line_item else None,
        "quantity_unit": "tokens" if by_line_item else None,
    }


DIMENSIONS = {name: name for name in ("project_id", "user_id", "api_key_id", "model")}

COMPLETIONS = Report(
    name="organization.usage.completions.result",
    of=_that_need(Use.CHAT),
    figures=_completions,
    groups={**DIMENSIONS, "batch": "batch"},
    filters=(*FILTERS, "batch"),
    constants={"service_tier": "default"},
)
BY_USE = {
    name: Report(
        name=f"organization.usage.{name}.result",
        of=_that_need(use),
        figures=figures,
        groups=DIMENSIONS,
        filters=FILTERS,
    )
    for name, use, figures in (
        ("embeddings", Use.EMBEDDINGS, _tokens_read),
        ("moderations", Use.MODERATION, _tokens_read),
        ("images", Use.IMAGES, _requests("images")),
        ("audio_speeches", Use.SPEECH, _requests("characters")),
        ("audio_transcriptions", Use.TRANSCRIPTION, _requests("seconds")),
    )
}
"""The reports that tell no more than one kind of use from the others."""
COSTS = Report(
    name="organization.costs.result",
    of=Q(),
    figures=_costs,
    # A model is what has a price.
    groups={"project_id": "project_id", "line_item": "model", "api_key_id": "api_key_id"},
    filters=("project_ids", "api_key_ids"),
    scales={"1d": Scale(DAY, usual=7, most=180)},
    in_whole_days=True,
)
