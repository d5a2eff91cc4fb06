from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import Organization, User
from community.models import Flag, Post, Tag
from forum.models import Question
from forum.services import answer
from portal.sample.loading import PEOPLE, load_sample_data
from portal.sample.questions import sample_questions
from search.models import SearchDocument
from usage.models import UsageEvent, UsageRollup15Min

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


def test_removal_leaves_nothing_of_it(sam: User) -> None:
    before = {model: model.objects.count() for model in (User, Organization, Post, Tag, UsageEvent, SearchDocument)}
    sample_data()
    assert "is removed" in sample_data("--remove")
    assert {model: model.objects.count() for model in before} == before
    assert not UsageRollup15Min.objects.exists()


def test_what_a_real_person_wrote_stays(ada: User) -> None:
    load_sample_data()
    question = Question.objects.first()
    assert question
    mine = answer(question=question, author=ada, source="It also happens with a proxy of a cloud provider.")
    assert "1 of its threads stay" in sample_data("--remove")
    assert Post.objects.filter(pk=mine.post.pk).exists()
    assert not User.objects.filter(is_sample=True).exists()
    assert not User.objects.get(name=question.post.author.name).is_active


def test_every_text_names_people_that_exist() -> None:
    questions = sample_questions()
    assert {question.by for question in questions} | {question.answer.by for question in questions} <= set(PEOPLE)
