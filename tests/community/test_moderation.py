"""The moderators' desk: what they see, what they do, what it does, and that it can be undone."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from community import moderation
from community.errors import RefusedError
from community.models import Flag, ModerationAct, Post
from community.services import raise_flag
from forum import services as forum
from forum.models import Answer, Question
from notifications.models import Notification
from notifications.texts import tell


def decide(client: Client, post: Post, act: str, reason: str = "Advertising.", **more: str) -> str:
    """The page that follows a decision."""
    sent = {"act": act, "reason": reason, "from": "queue", **more}
    response = client.post(f"/moderation/posts/{post.public_id}/", sent, follow=True)
    post.refresh_from_db()
    return response.content.decode()


def is_locked(post: Post) -> bool:
    return Post.objects.filter(pk=post.pk, is_locked=True).exists()


def is_suspended(person: User) -> bool:
    return User.objects.filter(pk=person.pk, suspended_at__isnull=False).exists()


def undo(client: Client) -> str:
    act = ModerationAct.objects.filter(reverses=None, reversed_by=None).latest("pk")
    return client.post(f"/moderation/acts/{act.public_id}/undo/", follow=True).content.decode()


def texts(user: User) -> list[str]:
    rows = list(Notification.objects.for_list(user).order_by("pk"))
    return [f"{told.text} {told.notification.detail}".strip() for told in tell(user, rows)]


def test_it_works(client: Client, sam_client: Client, ben: User, cyd: User, flag: Flag, question: Question) -> None:
    queue = sam_client.get("/moderation/").content.decode()
    assert "Buy my cheap tokens" in queue
    assert "Third one today" in queue
    page = decide(sam_client, flag.post, "hide")
    assert "Hid a post" in page
    assert "Nothing to look at" in page
    flag.refresh_from_db()
    assert (flag.post.state, flag.state, flag.post.open_flags) == ("hidden", "upheld", 0)
    assert "Buy my cheap tokens" not in client.get(question.get_absolute_url()).content.decode()
    assert texts(ben) == ["A moderator hid your post in “Why does streaming stop half-way?” Advertising."]
    assert texts(cyd) == ["A moderator hid the post you flagged in “Why does streaming stop half-way?”. Thank you"]
    assert "Undone" in undo(sam_client)
    assert texts(ben) == ["Your post in “Why does streaming stop half-way?” is visible again"]
    (told,) = texts(cyd)
    assert told.startswith("Your flag on the post in “Why does streaming stop half-way?” is open again")
    flag.refresh_from_db()
    flag.post.refresh_from_db()
    assert (flag.post.state, flag.state, flag.post.open_flags) == ("visible", "open", 1)
    assert "Buy my cheap tokens" in client.get(question.get_absolute_url()).content.decode()
    assert ModerationAct.objects.count() == 2


@pytest.mark.parametrize("path", ["/moderation/", "/moderation/log/"])
def test_only_staff_come_in(path: str, client: Client, cyd_client: Client, sam_client: Client, db: None) -> None:
    assert client.get(path)["Location"].startswith("/accounts/login/")
    assert cyd_client.get(path).status_code == 404
    assert sam_client.get(path).status_code == 200


def test_only_staff_act(cyd_client: Client, client: Client, sam: User, flag: Flag) -> None:
    for who in (cyd_client, client):
        who.post(f"/moderation/posts/{flag.post.public_id}/", {"act": "hide", "reason": "Mine now."})
    act = moderation.lock_post(post=flag.post, by=sam)
    assert cyd_client.post(f"/moderation/acts/{act.public_id}/undo/").status_code == 404
    flag.post.refresh_from_db()
    assert (flag.post.state, flag.post.is_locked) == ("visible", True)


@pytest.mark.parametrize("act", ["hide", "suspend"])
def test_a_reason_is_needed_and_nothing_is_lost(sam_client: Client, flag: Flag, act: str) -> None:
    assert "Say why" in decide(sam_client, flag.post, act, reason=" ")
    assert not ModerationAct.objects.exists()


def test_an_unknown_act_is_refused(sam_client: Client, flag: Flag) -> None:
    decide(sam_client, flag.post, "explode")
    assert not ModerationAct.objects.exists()


def test_hiding_and_suspending_at_once(sam_client: Client, ben: User, flag: Flag) -> None:
    decide(sam_client, flag.post, "hide", suspend_too="on")
    ben.refresh_from_db()
    assert ben.is_suspended
    assert [act.kind for act in ModerationAct.objects.order_by("pk")] == ["hide", "suspend"]


def test_when_one_of_two_is_refused_neither_is_done(sam: User, sam_client: Client, question: Question) -> None:
    post = forum.answer(question=question, author=sam, source="Words of a moderator, to be hidden.").post
    assert "Staff cannot be suspended" in decide(sam_client, post, "hide", suspend_too="on")
    assert post.is_visible


def test_restoring(sam_client: Client, sam: User, ben: User, answer: Answer, client: Client) -> None:
    moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    decide(sam_client, answer.post, "restore")
    assert answer.post.is_visible
    assert texts(ben) == ["Your post in “Why does streaming stop half-way?” is visible again Advertising."]
    undo(sam_client)
    assert texts(ben) == ["A moderator hid your post in “Why does streaming stop half-way?”"]
    answer.post.refresh_from_db()
    assert answer.post.state == "hidden"


def test_a_deleted_post_restored_and_undone_is_deleted_again(sam_client: Client, ben: User, answer: Answer) -> None:
    forum.delete(post=answer.post, by=ben)
    decide(sam_client, answer.post, "restore")
    assert answer.post.is_visible
    undo(sam_client)
    answer.post.refresh_from_db()
    assert answer.post.state == "deleted"


def test_locking(sam_client: Client, ada: User, cyd_client: Client, question: Question, answer: Answer) -> None:
    decide(sam_client, question.post, "lock")
    assert is_locked(question.post)
    assert "Locked" in cyd_client.get(question.get_absolute_url()).content.decode()
    assert texts(ada)[-1].startswith("A moderator locked your post")
    undo(sam_client)
    assert not is_locked(question.post)
    assert texts(ada)[-1] == "Your post in “Why does streaming stop half-way?” is unlocked again"
    decide(sam_client, question.post, "lock")
    decide(sam_client, question.post, "unlock")
    assert not is_locked(question.post)


def test_dismissing(sam_client: Client, cyd: User, flag: Flag) -> None:
    decide(sam_client, flag.post, "dismiss", reason="")
    flag.refresh_from_db()
    assert (flag.state, flag.post.open_flags, flag.post.is_visible) == ("dismissed", 0, True)
    assert texts(cyd) == [
        "A moderator looked at the post you flagged in “Why does streaming stop half-way?” and let it stand"
    ]
    undo(sam_client)
    flag.refresh_from_db()
    assert flag.state == "open"
    assert "is open again" in texts(cyd)[-1]
    assert "Third one today" in sam_client.get("/moderation/").content.decode()


def test_suspending(sam_client: Client, ben: User, ben_client: Client, flag: Flag, question: Question) -> None:
    decide(sam_client, flag.post, "suspend")
    assert is_suspended(ben)
    page = ben_client.get(question.get_absolute_url())
    assert page.status_code == 200
    assert "Your account is suspended" in page.content.decode()
    assert texts(ben) == [
        "Your account is suspended: you can read, but not write. Your API keys go on working Advertising."
    ]
    undo(sam_client)
    assert not is_suspended(ben)
    assert texts(ben) == ["Your suspension is lifted: you can write again"]
    decide(sam_client, flag.post, "suspend")
    decide(sam_client, flag.post, "readmit")
    assert not is_suspended(ben)


def test_an_act_is_undone_once_and_within_30_days(sam: User, answer: Answer) -> None:
    act = moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    reversal = moderation.undo(act=act, by=sam)
    for one in (act, reversal):
        with pytest.raises(RefusedError):
            moderation.undo(act=one, by=sam)
    late = moderation.lock_post(post=answer.post, by=sam)
    ModerationAct.objects.filter(pk=late.pk).update(created_at=timezone.now() - timedelta(days=31))
    with pytest.raises(RefusedError):
        moderation.undo(act=late, by=sam)


def test_what_changed_since_is_not_undone(sam: User, answer: Answer) -> None:
    act = moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    moderation.restore_post(post=answer.post, by=sam)
    with pytest.raises(RefusedError):
        moderation.undo(act=act, by=sam)


def test_a_second_moderator_hears_that_it_is_done(sam: User, sam_client: Client, flag: Flag) -> None:
    moderation.hide_post(post=flag.post, by=sam, reason="Spam.")
    assert "hidden already" in decide(sam_client, flag.post, "hide")
    assert ModerationAct.objects.count() == 1


def test_a_hidden_question_is_nowhere_for_strangers(
    client: Client, cyd_client: Client, ada_client: Client, sam: User, question: Question
) -> None:
    moderation.hide_post(post=question.post, by=sam, reason="Shows a secret.")
    for who in (client, cyd_client):
        assert who.get(question.get_absolute_url()).status_code == 404
        assert question.title not in who.get("/forum/").content.decode()
        assert question.title not in who.get("/forum/", {"q": "streaming"}).content.decode()
        assert question.title not in who.get("/search/", {"q": "streaming"}).content.decode()
        assert question.title not in who.get("/forum/feed/").content.decode()
    page = ada_client.get(question.get_absolute_url()).content.decode()
    assert "Shows a secret." in page
    assert "A moderator hid this post" in page


def test_the_log_is_searched_and_sorted(ada: User, ben: User, sam: User, sam_client: Client) -> None:
    acts = [
        moderation.suspend(person=person, reason=reason, by=sam) for person, reason in ((ada, "Spam"), (ben, "Rude"))
    ]

    def shown(**query: str) -> list[ModerationAct]:
        return list(sam_client.get("/moderation/log/", query).context["page"].items)

    assert shown() == acts[::-1]
    assert shown(sort="oldest") == acts
    assert shown(q="SPAM") == shown(q="ada") == [acts[0]]
    assert len(shown(q="sam")) == 2
    assert "No act found" in sam_client.get("/moderation/log/", {"q": "nothing like it"}).content.decode()


def test_the_log_shows_who_did_what(sam: User, sam_client: Client, answer: Answer) -> None:
    act = moderation.hide_post(post=answer.post, by=sam, reason="<b>Spam</b>")
    page = sam_client.get("/moderation/log/").content.decode()
    assert "&lt;b&gt;Spam&lt;/b&gt;" in page
    moderation.undo(act=act, by=sam)
    assert "undone" in sam_client.get("/moderation/log/").content.decode()
    assert "undone by Sam" in sam_client.get(f"/moderation/posts/{answer.post.public_id}/").content.decode()


def test_undoing_leads_back_only_into_the_portal(sam: User, sam_client: Client, answer: Answer) -> None:
    for back, target in (("/moderation/", "/moderation/"), ("https://evil.example/", "/moderation/log/")):
        act = moderation.lock_post(post=answer.post, by=sam)
        assert sam_client.post(f"/moderation/acts/{act.public_id}/undo/", {"next": back})["Location"] == target


def test_the_author_is_not_told_who_flagged(ben: User, sam_client: Client, flag: Flag) -> None:
    decide(sam_client, flag.post, "hide")
    assert "Cyd" not in str([(row.title, row.detail, row.events) for row in Notification.objects.for_list(ben)])


def test_the_queue_costs_the_same_however_long(
    ada: User, ben: User, cyd: User, sam_client: Client, question: Question
) -> None:
    for number in range(10):
        given = forum.answer(question=question, author=ben, source=f"Number {number}.", is_sample=True)
        for flagger in (ada, cyd):
            raise_flag(post=given.post, flagger=flagger, reason="spam")  # type: ignore[arg-type]
    with CaptureQueriesContext(connection) as queries:
        sam_client.get("/moderation/")
    # Session, user, standing; the posts, their flags, records of flaggers and authors, places; my last acts; the
    # projects and the unread count of the frame.
    assert len(queries) == 11


def test_dismissing_names_the_author_as_the_author(sam_client: Client, ben: User, flag: Flag) -> None:
    page = " ".join(decide(sam_client, flag.post, "dismiss").split())
    assert f"Dismissed flags on a post</span> by {ben.display_name}" in page
    assert "Reopened flags on a post" in " ".join(
        [undo(sam_client), sam_client.get("/moderation/log/").content.decode()]
    )
