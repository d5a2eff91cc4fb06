"""Sample data: people, organizations, a month of usage, a forum worth reading; labelled, and removable at once."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.audit import person_token
from accounts.models import Membership, Organization, Plan, Project, ProjectMembership, User
from accounts.plans.services import assign_plan, make_plan
from accounts.roles import ProjectRole, Role
from apikeys.models import ApiKey
from apikeys.services import mint_key
from common.ids import new_id, uuid7
from common.money import NANO, token_cost
from community.models import FlagReason, Post, PostRevision, PostState, Tag, Vote
from community.services import change_state, raise_flag
from forum import services as forum
from forum.models import Question
from portal.sample.questions import SampleQuestion, sample_questions
from usage.events import Event
from usage.ingest import insert_all
from usage.models import CreditGrant, Source
from usage.services import remove_usage

PEOPLE = {
    "mira": "Mira Novak", "tomas": "Tomás Rey", "ines": "Ines Carvalho", "noor": "Noor Haddad", "jonas": "Jonas Weber",
    "sofia": "Sofia Lind", "piotr": "Piotr Zielinski", "lena": "Lena Fischer", "sam": "Sam Okafor", "haoran": "林浩然",
    "yutong": "陈雨桐", "zihan": "王梓涵", "meilin": "周美琳", "jiayi": "何佳怡", "ruoxi": "许若曦", "yichen": "赵一辰",
}  # fmt: skip
TEAMS = {
    "Aurora Research (sample)": ["mira", "jonas", "ines", "noor"],
    "青禾科技（示例）": ["haoran", "yutong", "zihan", "meilin"],
}
DAYS = 30
PLAN = {
    "name": "Research (sample)",
    "description": "For teams that try things out.",
    "requests_per_minute": 600,
    "tokens_per_day": 5_000_000,
    "monthly_budget_nano": 20 * NANO,
}
BUDGETS = {"monthly_budget_nano": 5 * NANO, "alert_percents": [50, 80, 100]}


@dataclass(frozen=True)
class SampleModel:
    """A model that exists in the sample usage only; prices are nano-dollars per million tokens."""

    name: str
    share: float
    input_price: int
    output_price: int
    milliseconds_per_token: float


MODELS = [
    SampleModel("sample/chat-8b", 0.6, 50_000_000, 150_000_000, 14),
    SampleModel("sample/chat-70b", 0.25, 400_000_000, 900_000_000, 38),
    SampleModel("sample/embeddings", 0.15, 10_000_000, 0, 0),
]


@dataclass(frozen=True)
class SampleGrant:
    """Credits with the days since they were granted, and until they end or since they did."""

    dollars: float
    reason: str
    days_ago: int
    ends_in_days: int | None


# Used up, ended with something left, about to end, and without an end.
GRANTS = [
    SampleGrant(0.02, "Welcome (sample)", DAYS + 5, -DAYS + 12),
    SampleGrant(0.2, "Hackathon (sample)", DAYS - 15, -DAYS + 17),
    SampleGrant(0.5, "Pilot (sample)", DAYS - 20, 5),
    SampleGrant(10, "Research award (sample)", 2, None),
]


@dataclass(frozen=True)
class Kept:
    """What stays of the sample data: threads that real people wrote in, and sample people who wrote what stays."""

    threads: int
    people: list[str]


@transaction.atomic
def load_sample_data() -> bool:
    """Fill the portal; False when it was filled already.

    Staff become viewers of the sample organizations either way, so that they can look at them.
    """
    is_missing = not Organization.objects.filter(is_sample=True, is_personal=False).exists()
    if is_missing:
        _fill()
    _let_staff_look()
    return is_missing


def _fill() -> None:
    people = {name: _person(name, full_name) for name, full_name in PEOPLE.items()}
    chance = random.Random(7)  # noqa: S311  the same month for everyone
    plan = Plan.objects.filter(name=PLAN["name"]).first() or make_plan(changes=PLAN, by=people["sam"])
    for organization_name, team in TEAMS.items():
        project = _organization(organization_name, [people[name] for name in team])
        assign_plan(organization=project.organization, plan=plan, by=people["sam"])
        _load_usage(project, _grants(project.organization, by=people["sam"]), chance)
    for sample in sample_questions():
        _load_question(sample, people)
    _load_flags(people)


@transaction.atomic
def remove_sample_data() -> Kept:
    """Take the sample data away again, but for what real people built on; grants of credits stay too."""
    sample = Organization.objects.filter(is_sample=True)
    remove_usage(list(sample.values_list("public_id", flat=True)))
    real = Post.objects.filter(author__is_sample=False).filter(
        Q(answer__question=OuterRef("pk")) | Q(comment__question=OuterRef("pk"))
    )
    questions = Question.objects.filter(post__is_sample=True).annotate(has_real_posts=Exists(real))
    for question in questions.filter(has_real_posts=False):
        _remove_thread(question)
    sample.delete()
    Plan.objects.filter(name=PLAN["name"], organizations=None).delete()
    wrote = Exists(Post.objects.filter(author=OuterRef("pk")))
    revised = Exists(PostRevision.objects.filter(editor=OuterRef("pk")))
    User.objects.filter(~wrote, ~revised, is_sample=True).delete()
    # Whoever stays, for something they wrote that stays, is still shown as sample.
    User.objects.filter(is_sample=True).update(is_active=False)
    Tag.objects.filter(question_count=0).delete()
    return Kept(
        threads=Question.objects.filter(post__is_sample=True).count(),
        people=list(User.objects.filter(is_sample=True).order_by("name").values_list("name", flat=True)),
    )


def _person(name: str, full_name: str) -> User:
    """A new person, or the one who stayed when the sample data was removed."""
    email = f"{name}@sample.invalid"
    if person := User.objects.filter(email=email).first():
        person.is_sample = person.is_active = True
        person.save(update_fields=["is_sample", "is_active"])
        return person
    return User.objects.create_user(email, name=full_name, is_sample=True, date_joined=_opened_at())


def _opened_at() -> datetime:
    """When the sample people came and made their keys."""
    return timezone.now() - timedelta(days=DAYS + 10)


def _organization(name: str, members: list[User]) -> Project:
    organization = Organization.objects.create(name=name, is_sample=True, **BUDGETS)
    for index, user in enumerate(members):
        role = Role.MEMBER if index else Role.OWNER
        Membership.objects.create(organization=organization, user=user, role=role)
    project = Project.objects.create(organization=organization, name=name)
    for user in members:
        mint_key(project=project, name=f"{user.name.split()[0]}", by=user)
    ApiKey.objects.filter(project=project).update(created_at=_opened_at())
    return project


def _let_staff_look() -> None:
    """With what credits and statements are for, and as viewers of what is in the project besides."""
    for organization in Organization.objects.filter(is_sample=True, is_personal=False):
        for user in User.objects.filter(is_staff=True).exclude(memberships__organization=organization):
            membership = Membership.objects.create(organization=organization, user=user, role=Role.BILLING)
            for project in organization.projects.all():
                ProjectMembership.objects.create(project=project, membership=membership, role=ProjectRole.VIEWER)


def _grants(organization: Organization, *, by: User) -> list[CreditGrant]:
    """Straight into the table: by the service they would all begin today."""
    now = timezone.now()
    return [
        CreditGrant.objects.create(
            organization_id=organization.public_id,
            amount_nano=int(grant.dollars * NANO),
            at_hand_nano=int(grant.dollars * NANO),
            reason=grant.reason,
            at=now - timedelta(days=grant.days_ago),
            expires_at=None if grant.ends_in_days is None else now + timedelta(days=grant.ends_in_days),
            granted_by=person_token(by),
        )
        for grant in GRANTS
    ]


def _paid_by(grants: Sequence[CreditGrant], events: Sequence[Event]) -> list[Event]:
    """The calls, oldest first, with what each drew on the grants, which are in the order in which they end."""
    left = {grant.public_id: grant.amount_nano for grant in grants}
    paid = []
    for event in sorted(events, key=lambda event: event.id):
        draws, due = {}, event.cost_nano
        for grant in grants:
            is_there = grant.at <= event.at and (grant.expires_at is None or event.at < grant.expires_at)
            if is_there and (drawn := min(due, left[grant.public_id])):
                draws[grant.public_id] = drawn
                left[grant.public_id] -= drawn
                due -= drawn
        paid.append(replace(event, draws_text=json.dumps(draws)) if draws else event)
    return paid


def _load_usage(project: Project, grants: Sequence[CreditGrant], chance: random.Random) -> None:
    keys = list(ApiKey.objects.filter(project=project).select_related("created_by"))
    now = timezone.now()
    events = []
    for day in range(DAYS):
        # Working days are busy, and each week a little busier than the one before.
        start = now - timedelta(days=DAYS - day)
        calls = int((70 if start.weekday() < 5 else 15) * (1 + day / DAYS) * chance.uniform(0.8, 1.2))
        for _call in range(calls):
            at = start + timedelta(seconds=chance.triangular(0, 86_400, 50_000))
            if at < now:
                events.append(_event(project, chance.choices(keys, [4, 3, 2, 1])[0], at, chance))
    insert_all(_paid_by(grants, events))


def _event(project: Project, key: ApiKey, at: datetime, chance: random.Random) -> Event:
    model = chance.choices(MODELS, [model.share for model in MODELS])[0]
    embeds = model.output_price == 0
    failed = chance.random() < 0.015
    prompt_tokens = 0 if failed else int(chance.lognormvariate(6.2, 0.9))
    completion_tokens = 0 if failed or embeds else int(chance.lognormvariate(5.2, 0.7))
    first_token_ms = int(chance.lognormvariate(5.3, 0.4))
    return Event(
        id=uuid7(milliseconds=int(at.timestamp() * 1000)).hex,
        request_id=new_id("req"),
        source=Source.KEY,
        organization_id=project.organization.public_id,
        project_id=project.public_id,
        key_id=key.public_id,
        user_id=key.created_by.public_id if key.created_by else "",
        model=model.name,
        backend="" if failed else "sample",
        endpoint="embeddings" if embeds else "chat/completions",
        status=429 if failed else 200,
        error_code="rate_limit_exceeded" if failed else "",
        is_streamed=not embeds,
        is_estimated=False,
        prompt_tokens=prompt_tokens,
        cached_tokens=0,
        completion_tokens=completion_tokens,
        cost_nano=token_cost(prompt_tokens, model.input_price) + token_cost(completion_tokens, model.output_price),
        latency_ms=3 if failed else first_token_ms + int(completion_tokens * model.milliseconds_per_token),
        first_token_ms=None if failed or embeds else first_token_ms,
    )


def _load_question(sample: SampleQuestion, people: dict[str, User]) -> None:
    asker, answerer = people[sample.by], people[sample.answer.by]
    question = forum.ask(author=asker, title=sample.title, source=sample.text, tags=sample.tags, is_sample=True)
    given = forum.answer(question=question, author=answerer, source=sample.answer.text, is_sample=True)
    forum.accept(answer=given, by=asker)
    _vote(question.post, sample.votes, people)
    _vote(given.post, sample.answer.votes, people)
    asked_at = timezone.now() - timedelta(days=sample.days, hours=len(sample.title) % 11)
    answered_at = asked_at + timedelta(hours=1 + len(sample.answer.text) % 9)
    Post.objects.filter(pk=question.post.pk).update(created_at=asked_at)
    Post.objects.filter(pk=given.post.pk).update(created_at=answered_at)
    PostRevision.objects.filter(post=question.post).update(created_at=asked_at)
    PostRevision.objects.filter(post=given.post).update(created_at=answered_at)
    Question.objects.filter(pk=question.pk).update(created_at=asked_at, last_activity_at=answered_at)


def _vote(post: Post, votes: int, people: dict[str, User]) -> None:
    voters = [user for user in people.values() if user.pk != post.author_id][:votes]
    # Straight into the table: cast one by one, five hundred votes would index every thread five hundred times.
    Vote.objects.bulk_create(Vote(post=post, voter=voter, value=Vote.UP) for voter in voters)
    Post.objects.filter(pk=post.pk).update(score=len(voters))


def _load_flags(people: dict[str, User]) -> None:
    """Two posts that a moderator should look at, and one that was flagged without need."""
    streaming = Question.objects.get(title__startswith="Streaming arrives in one lump")
    privacy = Question.objects.get(title="Does the portal store my prompts?")
    spam = forum.answer(
        question=streaming,
        author=people["ruoxi"],
        source="Best cheap GPU hours, write me today! https://gpu-deals.example.com",
        is_sample=True,
    )
    rude = forum.comment(
        question=privacy,
        on=privacy.post,
        author=people["yichen"],
        source="Anybody who has to ask this should not be let near customer data.",
        is_sample=True,
    )
    raise_flag(post=spam.post, flagger=people["mira"], reason=FlagReason.SPAM)
    raise_flag(post=spam.post, flagger=people["ines"], reason=FlagReason.SPAM, note="Third time this week.")
    raise_flag(post=rude.post, flagger=people["sofia"], reason=FlagReason.ABUSE)
    raise_flag(post=privacy.post, flagger=people["zihan"], reason=FlagReason.OFF_TOPIC)


def _remove_thread(question: Question) -> None:
    posts = Post.objects.filter(
        Q(pk=question.post_id) | Q(answer__question=question) | Q(comment__question=question)
    ).values_list("pk", flat=True)
    doomed = list(posts)
    # As its author would: the search index and the counts of its tags follow.
    change_state(question.post, PostState.DELETED)
    Post.objects.filter(pk__in=doomed).delete()
