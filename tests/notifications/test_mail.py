"""Notifications by mail: what is sent, what is not, and how it stops."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from django.conf import LazySettings
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone, translation
from django.utils.translation import gettext

from accounts.models import User
from common.redis import durable
from community import moderation
from forum import services as forum
from forum.models import Answer, Question
from notifications import services
from notifications.models import Notification
from portal.embedded.program import free_port


@pytest.fixture(autouse=True)
def outbox(settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def question(ada: User) -> Question:
    return forum.ask(author=ada, title="Why does streaming stop half-way?", source="It ends in the middle of a word.")


@pytest.fixture
def answer(question: Question, ben: User) -> Answer:
    return forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")


def sent() -> list[EmailMessage]:
    services.send_waiting()
    return mail.outbox


def test_it_works(ada: User, answer: Answer, settings: LazySettings) -> None:
    (message,) = sent()
    assert message.to == ["ada@example.com"]
    assert message.subject == "Ben answered “Why does streaming stop half-way?”"
    assert f"{settings.PUBLIC_URL}/forum/questions/" in message.body
    assert "ben@example.com" not in message.body
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_it_is_sent_once(answer: Answer) -> None:
    row = Notification.objects.get()
    services.send_mail(pk=row.pk)
    services.send_mail(pk=row.pk)
    assert len(sent()) == 1


def test_what_joins_an_unread_row_sends_no_second_mail(cyd: User, question: Question, answer: Answer) -> None:
    sent()
    for _ in range(5):
        forum.comment(question=question, on=question.post, author=cyd, source="And another thing.")
    assert len(sent()) == 1


def test_it_is_in_the_language_of_its_reader(ada: User, question: Question, ben: User) -> None:
    ada.language = "zh-hans"
    ada.save(update_fields=["language"])
    forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")
    with translation.override("zh-hans"):
        greeting = gettext("Hello %(name)s,") % {"name": "Ada"}
    assert sent()[0].body.startswith(greeting)


@pytest.mark.parametrize("change", ["read", "hidden", "switched off", "inactive"])
def test_what_need_not_be_mailed_is_not(change: str, ada: User, sam: User, answer: Answer) -> None:
    if change == "read":
        services.mark_read(user=ada)
    elif change == "hidden":
        moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
        Notification.objects.exclude(recipient=ada).delete()
    elif change == "switched off":
        services.set_mail(user=ada, wants_mail=False)
    else:
        User.objects.filter(pk=ada.pk).update(is_active=False)
    assert sent() == []
    assert not Notification.objects.waiting_for_mail().exists()


def test_sample_people_get_no_mail(ada: User, ben: User, question: Question) -> None:
    question.post.author.is_sample = True
    forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")
    assert sent() == []


def test_nobody_gets_more_than_so_many_a_day(ada: User, answer: Answer) -> None:
    Notification.objects.bulk_create(
        Notification(
            recipient=ada,
            kind="forum.answer",
            group="g",
            object_id=f"post_{number}",
            title="",
            url="/",
            mailed_at=timezone.now(),
        )
        for number in range(services.MAILS_PER_DAY)
    )
    assert sent() == []


def test_a_title_cannot_add_a_header(ada: User, ben: User) -> None:
    question = forum.ask(author=ada, title="A title\r\nBcc: ben@example.com", source="Something to be answered.")
    forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")
    assert "\n" not in sent()[0].subject


class Inbox:
    """A handler of aiosmtpd that keeps what it is handed, or refuses it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.is_open = True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if not self.is_open:
            return "451 Try again later"
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@pytest.fixture
def inbox(settings: LazySettings) -> Iterator[Inbox]:
    inbox = Inbox()
    port = free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield inbox
    server.stop()


def test_a_real_server_receives_it(inbox: Inbox, ada: User, answer: Answer, client: Client) -> None:
    services.send_waiting()
    (message,) = inbox.messages
    assert message["To"] == "ada@example.com"
    assert str(message["Subject"]).strip() == "Ben answered “Why does streaming stop half-way?”"
    # The button of the mail program: one POST without cookies, as RFC 8058 says.
    address = str(message["List-Unsubscribe"]).strip("<>")
    path = address[address.index("/notifications/") :]
    response = Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"})
    assert response.status_code == 200
    assert not services.wants_mail(ada)


def test_a_refused_mail_is_tried_again(inbox: Inbox, answer: Answer) -> None:
    inbox.is_open = False
    services.send_waiting()
    row = Notification.objects.get()
    assert (row.mailed_at, row.mail_attempts) == (None, 1)
    assert row.mail_due_at is not None
    assert row.mail_due_at > timezone.now()
    inbox.is_open = True
    Notification.objects.update(mail_due_at=timezone.now())
    services.send_waiting()
    assert len(inbox.messages) == 1


def test_a_mail_server_that_is_away_is_asked_once_a_sweep(
    settings: LazySettings, ada: User, cyd: User, answer: Answer
) -> None:
    """Each try waits for its time-out: a sweep of many would keep the worker from all else for half an hour."""
    another = forum.ask(author=ada, title="What is a token worth?", source="In words of English, about.")
    forum.answer(question=another, author=cyd, source="Three quarters of one.")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    services.send_waiting()
    assert sorted(Notification.objects.values_list("mail_attempts", flat=True)) == [0, 1]


def test_a_refusal_of_one_mail_does_not_keep_back_the_next(inbox: Inbox, ada: User, cyd: User, answer: Answer) -> None:
    another = forum.ask(author=ada, title="What is a token worth?", source="In words of English, about.")
    forum.answer(question=another, author=cyd, source="Three quarters of one.")
    inbox.is_open = False
    services.send_waiting()
    assert list(Notification.objects.values_list("mail_attempts", flat=True)) == [1, 1]


def test_a_row_that_cannot_be_told_does_not_keep_back_the_next(ada: User, answer: Answer) -> None:
    Notification.objects.create(
        recipient=ada,
        kind="of.an.older.version",
        group="g",
        object_id="post_1",
        title="",
        url="/",
        events=[{"kind": "of.an.older.version", "source": "", "actor": "Ben"}],
        mail_due_at=timezone.now() - timedelta(minutes=1),
    )
    assert len(sent()) == 1
    row = Notification.objects.get(kind="of.an.older.version")
    assert (row.mailed_at, row.mail_attempts) == (None, 1)


def test_it_gives_up_after_a_while(inbox: Inbox, answer: Answer) -> None:
    inbox.is_open = False
    for _ in range(services.MAX_ATTEMPTS):
        Notification.objects.update(mail_due_at=timezone.now())
        services.send_waiting()
    assert Notification.objects.get().mail_due_at is None


def test_opening_the_link_only_asks(ada: User, client: Client) -> None:
    page = client.get(f"/notifications/unsubscribe/{services.unsubscribe_token(ada)}/")
    assert "Turn them off" in page.content.decode()
    assert services.wants_mail(ada)


def test_a_forged_link_is_refused(client: Client) -> None:
    assert client.post("/notifications/unsubscribe/forged:token/").status_code == 404


def test_the_switch_on_the_page(ada: User, ada_client: Client) -> None:
    ada_client.post("/notifications/mail/", {"wants_mail": "no"})
    assert not services.wants_mail(ada)
    ada_client.post("/notifications/mail/", {"wants_mail": "yes"})
    assert services.wants_mail(ada)


def test_a_worker_is_told_at_once(
    question: Question, ben: User, django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]]
) -> None:
    """The message names the row; what it says is in the row alone."""
    durable().delete("ly:celery:default")
    with django_capture_on_commit_callbacks(execute=True):
        forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")
    (message,) = cast("list[str]", durable().lrange("ly:celery:default", 0, -1))
    headers = json.loads(message)["headers"]
    assert headers["task"] == "notifications.tasks.send"
    assert headers["argsrepr"] == f"({Notification.objects.get().pk},)"
