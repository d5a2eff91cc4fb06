"""The request log: which calls are asked for, and what their rows of the ledger say to people."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet
from django.urls import reverse

from accounts.models import Project, User
from apikeys.models import ApiKey
from common.money import dollars
from common.paging import keyset_page
from common.spreadsheets import csv_head, csv_lines, safe_cells
from usage.events import CLIENT_CLOSED
from usage.models import UsageEvent, began, made_with
from usage.outcomes import ended_with, failed_with
from usage.problems import Problem, problem_of
from usage.reports import Name, key_names
from usage.sight import Sight, Sights, seen_of, sights

REQUEST_ID = re.compile(r"req_[0-9A-Za-z]{22}(?![0-9A-Za-z])")
CHUNK = 1000
COLUMNS = (
    "at", "request_id", "source", "project_id", "key_id", "key", "user_id", "model", "endpoint", "status",
    "error_code", "is_streamed", "is_estimated", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd",
    "latency_ms", "first_token_ms", "reasoning_tokens", "asked_model", "client", "retries", "failovers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls. An empty text and None ask for all, but that calls which named no model are of the model "".

    `key` and `member` are what may stand for one: an id, or a part of a name, or what is shown of a key. `outcome` is
    one of `usage.outcomes`, or an HTTP status.
    """

    since: datetime | None = None
    until: datetime | None = None
    model: str | None = None
    key: str = ""
    member: str = ""
    outcome: str = ""
    code: str = ""
    endpoint: str = ""
    source: str = ""


def calls(*, seen: Sights, asked: Asked) -> "list[QuerySet[UsageEvent]]":
    """The calls that are seen and asked for: those of each project by themselves, for each has its place in the index.

    Who is asked for by `member` is only looked for where the reader may know whose calls they are.
    """
    if asked.member:
        seen = [sight for sight in seen if sight.sees_people]
    condition = _condition(asked, seen)
    return [UsageEvent.objects.filter(sight.applied(), condition) for sight in seen] or [UsageEvent.objects.none()]


def _condition(asked: Asked, seen: Sights) -> Q:
    condition = began(asked.since, asked.until)
    if asked.outcome:
        condition &= ended_with(asked.outcome)
    if asked.model is not None:
        condition &= Q(model=asked.model)
    if asked.code:
        condition &= failed_with(asked.code)
    if asked.endpoint:
        condition &= Q(endpoint=asked.endpoint)
    if asked.source:
        condition &= Q(source=asked.source)
    # By lists of ids: asked about each row whether its key is one of them, PostgreSQL would not walk along the index.
    if asked.key:
        keys = ApiKey.objects.called(asked.key).filter(project__in=_projects(seen))
        condition &= Q(key_id__in=[asked.key, *keys.values_list("public_id", flat=True)])
    if asked.member:
        people = User.objects.filter(organizations__projects__in=_projects(seen))
        people = people.filter(Q(public_id=asked.member) | Q(name__icontains=asked.member)).distinct()
        ids = [asked.member, *people.values_list("public_id", flat=True)]
        keys = ApiKey.objects.made_by(ids).filter(project__in=_projects(seen))
        condition &= Q(user_id__in=ids) | Q(key_id__in=list(keys.values_list("public_id", flat=True)))
    return condition


def _projects(seen: Sights) -> list[Project]:
    return [sight.project for sight in seen]


def page_of_call_in(text: str) -> str | None:
    """The address of the page of the call whose request id is in what somebody pasted; None where none is.

    Quotes, a header's name or a line of a log may stand around it.
    """
    found = REQUEST_ID.search(text)
    return reverse("usage:call", args=[found.group()]) if found else None


def call_of(user: User, request_id: str) -> "Call | None":
    """The call that has this id, in whichever of their projects, if the user sees it."""
    projects = Project.objects.seen_by(user).select_related("organization")
    called = UsageEvent.objects.filter(request_id=request_id)
    seen = sights(user, list(projects.filter(public_id__in=called.values("project_id")).distinct()))
    event = called.filter(seen_of(seen)).order_by("-at", "-pk").first()
    return described([event], seen=seen)[0] if event else None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the ledger, with what its row leaves out. `person` made it without a key, if the reader may know."""

    event: UsageEvent
    project: Project
    key: Name
    person: str
    problem: Problem | None

    @property
    def is_failed(self) -> bool:
        """Whether the sums count it as an error: a client that hung up had none."""
        return self.event.status >= 400 and self.event.status != CLIENT_CLOSED

    @property
    def has_tokens(self) -> bool:
        """Whether anything was counted: nothing is where it was refused, failed before an answer, or was speech."""
        return bool(self.event.prompt_tokens or self.event.completion_tokens)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of the writing alone: a single token, or one burst, has none worth showing."""
        begun = self.event.first_token_ms
        if begun is None or self.event.completion_tokens < 2 or self.event.latency_ms <= begun:
            return None
        return (self.event.completion_tokens - 1) * 1000 / (self.event.latency_ms - begun)


def described(events: Sequence[UsageEvent], *, seen: Sights) -> list[Call]:
    """The calls with their names, in two queries however many they are."""
    by_project = {sight.project.public_id: sight for sight in seen}
    keys = [made_with(event.key_id, event.source) for event in events]
    names = key_names(set(keys), sights=seen)
    people = _people([event for event in events if by_project[event.project_id].sees_people])
    return [
        Call(
            event=event,
            project=by_project[event.project_id].project,
            key=names[key],
            person=people.get(event.user_id, ""),
            problem=problem_of(event),
        )
        for event, key in zip(events, keys, strict=True)
    ]


def _people(events: Sequence[UsageEvent]) -> dict[str, str]:
    """What those are called who made their calls without a key, by their ids."""
    ids = {event.user_id for event in events if event.user_id}
    return {user.public_id: user.display_name for user in User.objects.filter(public_id__in=ids)} if ids else {}


def recent_calls(*, seen: Sights, asked: Asked, count: int = 20) -> list[Call]:
    """The last calls that are seen and asked for, newest first."""
    page = keyset_page(*calls(seen=seen, asked=asked), by="at", cursor=None, size=count)
    return described(page.items, seen=seen)


def csv_parts(*, seen: Sights, asked: Asked) -> Iterator[bytes]:
    """All calls that are seen and asked for, newest first: no query is open while a reader is slow."""
    yield csv_head(COLUMNS)
    cursor: str | None = None
    while True:
        page = keyset_page(*calls(seen=seen, asked=asked), by="at", cursor=cursor, size=CHUNK)
        if page.items:
            keys = [made_with(event.key_id, event.source) for event in page.items]
            names = key_names(set(keys), sights=seen)
            makers = ApiKey.objects.filter(public_id__in=keys).makers()
            by_project = {sight.project.public_id: sight for sight in seen}
            yield csv_lines(
                _cells(event, names[key], event.user_id or makers.get(key, ""), by_project[event.project_id])
                for event, key in zip(page.items, keys, strict=True)
            )
        if page.older is None:
            return
        cursor = page.older


def _cells(event: UsageEvent, key: Name, whose: str, sight: Sight) -> list[str]:
    user_id = whose if sight.sees_people or sight.own else ""
    cells: list[object] = [
        event.at.isoformat(), event.request_id, event.source, event.project_id, event.key_id,
        key.label if event.key_id else "", user_id, event.model, event.endpoint, event.status, event.error_code,
        event.is_streamed, event.is_estimated, event.prompt_tokens, event.cached_tokens, event.completion_tokens,
        f"{dollars(event.cost_nano):f}", event.latency_ms,
        "" if event.first_token_ms is None else event.first_token_ms, event.reasoning_tokens, event.asked_model,
        event.client, event.retries, event.failovers,
    ]  # fmt: skip
    return safe_cells(str(cell) for cell in cells)
