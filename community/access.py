"""Who may fetch what: views reach posts and moderation acts through here only."""

from collections.abc import Collection

from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from accounts.models import User
from community.models import ModerationAct, Post


def post_for(user: User | AnonymousUser, public_id: str) -> Post:
    """A post the user may read; 404 for anyone else, who cannot tell it from one that is not."""
    posts = Post.objects.readable_by(user).select_related("author", "parent__parent")
    post = posts.filter(public_id=public_id).first()
    if post is None:
        raise Http404
    return post


def act_for(user: User, public_id: str) -> ModerationAct:
    """A moderation act, for staff."""
    act = ModerationAct.objects.for_log().filter(public_id=public_id).first() if user.is_staff else None
    if act is None:
        raise Http404
    return act


def readable_posts(user: User, ids: Collection[str]) -> set[str]:
    """Which of the posts with these public ids the user may read: what notifications ask before they tell."""
    return set(Post.objects.readable_by(user).filter(public_id__in=ids).values_list("public_id", flat=True))
