"""The list of questions: order, tags, search, pages."""

from datetime import timedelta

import pytest
from django.db import connection
from django.template.defaultfilters import date
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from forum import services, views
from forum.models import Answer, Question
from tests.conftest import client_of


def ask(author: User, title: str, *, hours: int = 0, source: str = "What is this about?", tags: str = "") -> Question:
    question = services.ask(author=author, title=title, source=source, tags=tags.split(), is_sample=True)
    at = timezone.now() - timedelta(hours=hours)
    Question.objects.filter(pk=question.pk).update(created_at=at, last_activity_at=at)
    return question


def titles(client: Client, **query: str) -> list[str]:
    return [question.title for question in client.get("/forum/", query).context["page"].items]


def test_it_works(client: Client, question: Question) -> None:
    page = client.get("/forum/").content.decode()
    assert question.title in page
    assert "streaming" in page


def test_it_is_empty_at_first(client: Client, db: None) -> None:
    assert "No questions yet" in client.get("/forum/").content.decode()
    assert "No such tag" in client.get("/forum/tags/").content.decode()


def test_the_orders(client: Client, ada: User, ben: User) -> None:
    old, new = ask(ada, "The old one", hours=5), ask(ada, "The new one", hours=1)
    services.answer(question=old, author=ben, source="It is about this and that.")
    assert titles(client) == ["The new one", "The old one"]
    assert titles(client, sort="active") == ["The old one", "The new one"]
    assert titles(client, sort="unanswered") == ["The new one"]
    assert titles(client, sort="nonsense") == ["The new one", "The old one"]
    assert new.answer_count == 0


def test_by_tag(client: Client, ada: User) -> None:
    ask(ada, "With the tag", tags="python 429")
    ask(ada, "Without it", tags="python")
    assert titles(client, tag="429") == ["With the tag"]
    assert titles(client, tag="nothing") == []
    assert "429" in client.get("/forum/tags/", {"q": "42"}).content.decode()


def test_the_best_matches_under_a_tag(client: Client, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BEST_SHOWN", 2)
    for number in range(3):
        ask(ada, f"Streaming, streaming, streaming {number}", tags="python")
    ask(ada, "About the end of a word", source="It says streaming in passing.", tags="go")
    assert titles(client, q="streaming", tag="go") == ["About the end of a word"]


@pytest.mark.parametrize("query", ["令牌", "流式输出", "max_tokens", "429"])
def test_search_in_two_languages(client: Client, ada: User, query: str) -> None:
    ask(ada, "流式输出时如何得到令牌用量", source="设置 max_tokens 之后返回 429。")
    ask(ada, "Something else", source="Nothing in common.")
    assert titles(client, q=query) == ["流式输出时如何得到令牌用量"]
    assert titles(client, q=query, sort="newest") == ["流式输出时如何得到令牌用量"]


def test_search_finds_answers_and_comments(client: Client, question: Question, ben: User, cyd: User) -> None:
    given = services.answer(question=question, author=ben, source="Set keepalive_timeout in nginx.")
    services.comment(question=question, on=given.post, author=cyd, source="Also proxy_buffering off.")
    assert titles(client, q="keepalive_timeout") == [question.title]
    assert titles(client, q="proxy_buffering") == [question.title]


def test_search_finds_what_it_says_now(client: Client, ada: User, question: Question) -> None:
    services.edit(post=question.post, by=ada, source="All about embeddings now.", base=1, title="A title of its own")
    assert titles(client, q="embeddings") == ["A title of its own"]
    assert titles(client, q="streaming") == []


def test_nothing_found_says_so(client: Client, question: Question) -> None:
    page = client.get("/forum/", {"q": "<zzz>"}).content.decode()
    assert "Nothing found" in page
    assert "<zzz>" not in page


def test_pages(client: Client, ada: User) -> None:
    for number in range(30):
        ask(ada, f"Number {number:02}", hours=30 - number)
    first = client.get("/forum/").context["page"]
    assert [question.title for question in first.items][::24] == ["Number 29", "Number 05"]
    assert titles(client, cursor=first.older) == [f"Number {number:02}" for number in range(4, -1, -1)]
    assert titles(client, cursor="forged") == [question.title for question in first.items]


def test_the_list_costs_the_same_however_long(client: Client, ada: User) -> None:
    for number in range(20):
        ask(ada, f"Number {number}", tags=f"t{number} python")
    with CaptureQueriesContext(connection) as queries:
        client.get("/forum/")
    # Questions with authors, their tags, the popular tags.
    assert len(queries) == 3


def test_the_feed(client: Client, question: Question, answer: Answer) -> None:
    feed = client.get("/forum/feed/")
    assert feed["Content-Type"].startswith("application/atom+xml")
    assert question.title in feed.content.decode()


def test_a_character_that_xml_cannot_hold_breaks_no_feed(client: Client, ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(name="A\x07da")
    form = {"title": "What does \x1b[31m in a log mean?", "text": "It prints \x1b[31m\uffff before the word error."}
    assert client_of(ada).post("/forum/ask/", form).status_code == 302
    feed = client.get("/forum/feed/")
    assert feed.status_code == 200
    assert "What does [31m in a log mean?" in feed.content.decode()


def test_the_time_shown_is_the_one_it_is_ordered_by(client: Client, ada: User) -> None:
    asked = ask(ada, "An old one that somebody answered")
    at = timezone.now() - timedelta(days=9)
    Question.objects.filter(pk=asked.pk).update(created_at=at)
    asked.refresh_from_db()
    shown = {sort: client.get("/forum/", {"sort": sort}).content.decode() for sort in ("newest", "active")}
    assert date(timezone.localtime(asked.created_at), "c") in shown["newest"]
    assert date(timezone.localtime(asked.last_activity_at), "c") in shown["active"]
    assert date(timezone.localtime(asked.created_at), "c") not in shown["active"]
