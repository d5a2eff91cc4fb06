"""Django's admin shows every kind of row and changes none behind the moderators' backs."""

import pytest
from django.test import Client

from community.models import Flag, ModerationAct
from forum.models import Question
from notifications.models import Notification

PAGES = [
    "community/post",
    "community/flag",
    "community/moderationact",
    "community/vote",
    "community/tag",
    "forum/question",
    "forum/answer",
    "forum/comment",
    "notifications/notification",
    "notifications/mailpreference",
    "search/searchdocument",
]


@pytest.mark.parametrize("page", PAGES)
def test_it_works(page: str, sam_client: Client, flag: Flag) -> None:
    assert sam_client.get(f"/admin/{page}/", {"q": "streaming"}).status_code == 200


def test_a_row_can_be_looked_at(sam_client: Client, flag: Flag, question: Question) -> None:
    notification = Notification.objects.latest("pk")
    for path in (
        f"community/post/{flag.post.pk}",
        f"community/flag/{flag.pk}",
        f"forum/question/{question.pk}",
        f"notifications/notification/{notification.pk}",
    ):
        assert sam_client.get(f"/admin/{path}/change/").status_code == 200


def test_nothing_is_deleted_there(sam_client: Client, flag: Flag) -> None:
    assert sam_client.post(f"/admin/community/post/{flag.post.pk}/delete/", {"post": "yes"}).status_code == 403
    assert not ModerationAct.objects.exists()
    assert Flag.objects.filter(pk=flag.pk).exists()
