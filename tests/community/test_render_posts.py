"""`manage.py render_posts`: older posts get the HTML that today's renderer makes."""

from io import StringIO

import pytest
from django.core.management import call_command

from accounts.models import User
from common import markdown
from community.models import Post
from forum.models import Question
from forum.services import answer
from search.services import find

pytestmark = pytest.mark.django_db


def run() -> str:
    out = StringIO()
    call_command("render_posts", stdout=out)
    return out.getvalue()


def test_it_works(question: Question, cyd: User) -> None:
    given = answer(question=question, author=cyd, source="Use List<String> with the nightingale flag.")
    Post.objects.filter(pk=given.post_id).update(html="<p>Use List</p>", renderer_version=1)

    assert run() == "Posts rendered anew: 1\n"

    given.post.refresh_from_db()
    assert given.post.html == "<p>Use List&lt;String&gt; with the nightingale flag.</p>\n"
    assert given.post.renderer_version == markdown.RENDERER_VERSION
    assert [found.object_id for found in find("nightingale")] == [question.public_id]


def test_what_is_up_to_date_stays_as_it_is(question: Question) -> None:
    Post.objects.filter(pk=question.post_id).update(html="as it is")

    assert run() == ""

    question.post.refresh_from_db()
    assert question.post.html == "as it is"
