from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Organization, Plan, User
from accounts.plans.services import assign_plan
from accounts.roles import Role
from apikeys.models import ApiKey
from common import redis
from community.models import Flag, Post, Tag
from forum.models import Question
from forum.services import answer, ask
from portal.sample.loading import PEOPLE, load_sample_data
from portal.sample.questions import sample_questions
from search.models import SearchDocument
from tests.services import open_budgets
from tests.usage.test_ingest import event
from usage.credits.services import balance_of
from usage.ingest import insert_all
from usage.models import MEASURES, ROLLUPS, CreditDraw, UsageEvent
from usage.reconciliation import reconcile, this_month_and_the_last

pytestmark = pytest.mark.django_db


def sample_data(*arguments: str) -> str:
    out = StringIO()
    call_command("sample_data", *arguments, stdout=out)
    return out.getvalue()


def test_it_works(sam: User, sam_client: Client) -> None:
    sample_data()
    assert "is there already" in sample_data()
    answered = Question.objects.filter(is_solved=True)
    assert answered.count() == 30
    assert {question.post.language for question in answered.select_related("post")} == {"en", "zh-hans"}
    assert not answered.filter(created_at__gte=timezone.now() - timedelta(hours=1)).exists()
    assert Flag.objects.open().count() == 4
    assert not any(user.has_usable_password() for user in User.objects.filter(is_sample=True))
    project = Organization.objects.filter(is_sample=True).first().projects.get()  # type: ignore[union-attr]
    sam_client.post(f"/projects/{project.public_id}/choose/")
    page = sam_client.get("/usage/?range=30d").content.decode()
    assert "sample/chat-8b" in page
    assert "You are looking at sample data" in page
    for organization in Organization.objects.filter(is_sample=True, is_personal=False):
        page = sam_client.get(f"/organizations/{organization.public_id}/credits/").content.decode()
        assert all(state in page for state in ("Used up", "Expired", "Pilot (sample)", "Research award (sample)"))
        balance = balance_of(organization)
        assert 0 < balance.used_nano < balance.used_nano + balance.left_nano
        assert sam_client.get(f"/organizations/{organization.public_id}/statements/").status_code == 200
        assert "Research (sample)" in sam_client.get(f"/organizations/{organization.public_id}/plan/").content.decode()
    assert "Research (sample)" in sam_client.get("/plans/").content.decode()
    # The ledger and its sums agree, draws too. Of what other tests left in Redis the ledger knows nothing.
    redis.durable().flushdb()
    open_budgets()
    assert not reconcile(this_month_and_the_last()).differences


def test_removal_leaves_nothing_of_it(sam: User) -> None:
    # Of the same cells as some of the samples, but where all organizations are summed together.
    insert_all([event(model="sample/chat-8b", backend="sample", is_streamed=True)])
    sums = {table: list(table.objects.values(*table.CELL, *MEASURES)) for table in ROLLUPS}
    models = (User, Organization, Plan, Post, Tag, UsageEvent, CreditDraw, SearchDocument)
    before = {model: model.objects.count() for model in models}
    sample_data()
    assert "is removed" in sample_data("--remove")
    assert {model: model.objects.count() for model in before} == before
    assert {table: list(table.objects.values(*table.CELL, *MEASURES)) for table in ROLLUPS} == sums


def test_what_real_people_built_on_stays(ada: User) -> None:
    load_sample_data()
    home = Organization.objects.get(memberships__user=ada, is_sample=False)
    plan = Plan.objects.get()
    assign_plan(organization=home, plan=plan, by=ada)
    question = Question.objects.first()
    assert question
    mine = answer(question=question, author=ada, source="It also happens with a proxy of a cloud provider.")
    said = sample_data("--remove")
    assert "1 of its threads stay" in said
    assert Post.objects.filter(pk=mine.post.pk).exists()
    kept = User.objects.filter(is_sample=True)
    assert question.post.author in kept
    assert not any(person.is_active for person in kept)
    assert all(person.name in said for person in kept)
    home.refresh_from_db()
    assert home.plan == plan


def test_a_sample_person_who_stayed_does_not_keep_the_data_from_coming_back(ada: User, client: Client) -> None:
    load_sample_data()
    mira = User.objects.get(email="mira@sample.invalid")
    asked = ask(author=ada, title="Does anybody else see this?", source="The stream ends after the first word.")
    answer(question=asked, author=mira, source="Yes, behind a proxy that buffers.")
    assert "These sample people stay, because something they wrote does: Mira Novak." in sample_data("--remove")
    assert ">Sample<" in "".join(client.get(asked.get_absolute_url()).content.decode().split())
    assert "Sample data is in" in sample_data()
    mira.refresh_from_db()
    assert mira.is_active
    assert Post.objects.filter(author=mira, is_sample=True).exists()


def test_staff_who_come_later_can_look_at_it_too(ada: User) -> None:
    load_sample_data()
    User.objects.filter(pk=ada.pk).update(is_staff=True)
    load_sample_data()
    memberships = Membership.objects.filter(user=ada, organization__is_sample=True)
    assert [membership.role for membership in memberships] == [Role.BILLING, Role.BILLING]


def test_keys_are_older_than_their_calls(sam: User) -> None:
    load_sample_data()
    for key in ApiKey.objects.filter(project__organization__is_sample=True):
        assert key.created_at < timezone.now() - timedelta(days=30)


def test_moderators_see_whose_posts_and_flags_are_samples(sam: User, sam_client: Client) -> None:
    load_sample_data()
    page = "".join(sam_client.get("/moderation/").content.decode().split())
    for name in ("许若曦", "MiraNovak", "InesCarvalho"):
        assert f"{name}<spanclass" in page


def test_every_text_names_people_that_exist() -> None:
    questions = sample_questions()
    assert {question.by for question in questions} | {question.answer.by for question in questions} <= set(PEOPLE)
