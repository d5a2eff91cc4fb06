"""What no browser sends is refused in an ordinary way."""

import pytest
from django.test import Client

from forum.models import Question
from tests.forum.conftest import question  # noqa: F401 - a fixture


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
@pytest.mark.parametrize(
    "path",
    [
        "/forum/",
        "/forum/ask/",
        "/forum/feed/",
        "/forum/questions/{question}/",
        "/forum/answers/answer_x/accept/",
        "/forum/posts/{post}/comment/",
        "/forum/posts/{post}/edit/",
        "/forum/posts/{post}/delete/",
        "/community/posts/{post}/vote/",
        "/community/posts/{post}/flag/",
        "/moderation/posts/{post}/",
        "/search/",
        "/notifications/unsubscribe/x/",
        "/accounts/email/",
    ],
)
def test_another_method_is_not_allowed(sam_client: Client, question: Question, path: str, method: str) -> None:  # noqa: F811
    address = path.format(question=question.public_id, post=question.post.public_id)
    assert getattr(sam_client, method)(address).status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/search/", "/forum/feed/"])
def test_pages_that_only_show_take_no_post(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["x", "home", "account_login", "//evil.example", "/\\evil.example", "https:evil.example"]
)
def test_going_back_to_what_is_no_address_of_ours(client: Client, address: str) -> None:
    response = client.post("/theme/", {"theme": "dark", "next": address})
    assert (response.status_code, response["location"]) == (302, "/")


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["a" * 255, "a" * 5000, "..", "x\u202e"])
def test_a_tutorial_that_cannot_be_a_file(client: Client, slug: str) -> None:
    assert client.get(f"/docs/{slug}/").status_code == 404
    assert client.get(f"/docs/{slug}.md").status_code == 404
