"""What people do with posts: write, edit, delete, vote, flag."""

import re

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from apikeys.leaks import live_keys_in, refusal, revocable
from common import markdown
from community import pace
from community.errors import KeyShownError, RefusedError
from community.models import Flag, FlagReason, Post, PostKind, PostRevision, PostState, Vote
from community.signals import post_state_changed, posts_rendered

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")


def language_of(text: str) -> str:
    """`zh-hans` when a good part of the letters is Chinese (code and names in a Chinese post are Latin), else `en`."""
    letters = len(_LETTER.findall(text))
    return "zh-hans" if letters and len(_HAN.findall(text)) / letters > 0.15 else "en"


def check_no_key(text: str, author: User) -> None:
    """Raises KeyShownError when the text shows an API key of this portal that works.

    One that was revoked opens nothing and never will, so text that shows it does no harm.
    """
    if keys := live_keys_in(text):
        raise KeyShownError(refusal(author, keys), revocable=revocable(author, keys))


@transaction.atomic
def create_post(
    *,
    author: User,
    kind: PostKind,
    source: str,
    parent: Post | None = None,
    title: str = "",
    tags: str = "",
    submission: str = "",
    is_sample: bool = False,
) -> Post:
    """A new post with its first revision.

    Raises RefusedError, and PostedAlreadyError when a form with this `submission` has posted already.
    """
    pace.check_may_write(author)
    if parent is not None and parent.is_frozen:
        raise RefusedError(_("This thread is locked: nothing can be added to it."))
    if not is_sample:
        pace.check_post(author, kind)
    check_no_key(f"{title}\n{tags}\n{source}", author)
    earlier = Post.objects.filter(author=author, submission=submission).first() if submission else None
    if earlier is not None:
        if earlier.source == source:
            raise PostedAlreadyError
        # Gone back in the browser and something else written into the same form: that is a post of its own.
        submission = ""
    try:
        with transaction.atomic():
            post = Post.objects.create(
                author=author,
                kind=kind,
                source=source,
                html=markdown.render(source),
                renderer_version=markdown.RENDERER_VERSION,
                language=language_of(f"{title}\n{source}"),
                parent=parent,
                submission=submission,
                is_sample=is_sample,
            )
    except IntegrityError as error:
        raise PostedAlreadyError from error
    PostRevision.objects.create(post=post, number=1, editor=author, source=source, title=title, tags=tags)
    return post


@transaction.atomic
def render_outdated(*, at_most: int = 200) -> int:
    """Make the HTML again of some posts that an earlier renderer made; how many. Call it until there are none."""
    outdated = Post.objects.filter(renderer_version__lt=markdown.RENDERER_VERSION).order_by("pk")
    posts = list(outdated.select_for_update()[:at_most])
    for post in posts:
        post.html, post.renderer_version = markdown.render(post.source), markdown.RENDERER_VERSION
    Post.objects.bulk_update(posts, ["html", "renderer_version"])
    if posts:
        posts_rendered.send(sender=Post, posts=posts)
    return len(posts)


class PostedAlreadyError(Exception):
    """A form was sent twice; the first time made the post."""


def may_edit(user: object, post: Post) -> bool:
    """Whether the user may edit the post, for showing the way there; `edit_post` checks it again."""
    if not isinstance(user, User) or user.is_suspended:
        return False
    if user.is_staff:
        return True
    return post.author_id == user.pk and post.is_visible and not post.is_frozen


@transaction.atomic
def edit_post(
    *, post: Post, by: User, source: str, base: int, title: str = "", tags: str = "", summary: str = ""
) -> bool:
    """Replace the text; the earlier one stays readable in the history. False when nothing differs.

    `base` is the revision the editor started from. Raises RefusedError also when somebody else edited meanwhile.
    """
    pace.check_may_write(by)
    post.refresh_from_db(from_queryset=Post.objects.select_for_update(of=("self",)).select_related("parent__parent"))
    if not may_edit(by, post):
        raise RefusedError(_("This post can no longer be edited."))
    if base != post.revision:
        raise RefusedError(
            _("This post was edited while you were writing. Copy your text, reload the page and edit it again.")
        )
    last = post.revisions.get(number=post.revision)
    if (last.source, last.title, last.tags) == (source, title, tags):
        return False
    pace.check_edit(by)
    check_no_key(f"{title}\n{tags}\n{source}\n{summary}", by)
    post.source, post.html, post.renderer_version = source, markdown.render(source), markdown.RENDERER_VERSION
    post.language = language_of(f"{title}\n{source}")
    post.edited_at, post.revision = timezone.now(), post.revision + 1
    post.save(update_fields=["source", "html", "renderer_version", "language", "edited_at", "revision"])
    PostRevision.objects.create(
        post=post, number=post.revision, editor=by, source=source, title=title, tags=tags, summary=summary
    )
    return True


@transaction.atomic
def delete_post(*, post: Post, by: User) -> None:
    """The author takes back what they wrote. Moderators can still read and restore it.

    Raises RefusedError when it is not theirs, is locked, or hidden. What replies to it is the caller's to check.
    """
    pace.check_may_write(by)
    post.refresh_from_db(from_queryset=Post.objects.select_for_update(of=("self",)).select_related("parent__parent"))
    if post.author_id != by.pk or not post.is_visible or post.is_frozen:
        raise RefusedError(_("This post can no longer be deleted."))
    change_state(post, PostState.DELETED)


def change_state(post: Post, state: PostState) -> None:
    """Set the state of a post that the caller has locked, and announce it."""
    was = PostState(post.state)
    post.state = state
    post.save(update_fields=["state"])
    post_state_changed.send(sender=Post, post=post, was=was)


@transaction.atomic
def cast_vote(*, post: Post, voter: User, value: int) -> Post:
    """Vote up (1), down (-1) or take the vote back (0); the post comes back with its new score.

    Raises RefusedError for one's own post, a comment, a locked or hidden one.
    """
    pace.check_may_write(voter)
    post = Post.objects.select_for_update(of=("self",)).select_related("parent__parent").get(pk=post.pk)
    if post.author_id == voter.pk:
        raise RefusedError(_("You cannot vote on your own post."))
    if not post.takes_votes or not post.is_visible or post.is_frozen:
        raise RefusedError(_("This post takes no votes."))
    vote = Vote.objects.filter(post=post, voter=voter).first()
    before = vote.value if vote else 0
    if value == before:
        return post
    if value == 0:
        Vote.objects.filter(post=post, voter=voter).delete()
    else:
        Vote.objects.update_or_create(post=post, voter=voter, defaults={"value": value})
    Post.objects.filter(pk=post.pk).update(score=F("score") + value - before)
    post.score += value - before
    return post


@transaction.atomic
def raise_flag(*, post: Post, flagger: User, reason: FlagReason, note: str = "") -> Flag:
    """Tell the moderators about a post.

    Raises RefusedError for one's own post, one that is hidden already, and a second flag on the same post.
    """
    pace.check_may_write(flagger)
    post = Post.objects.select_for_update().get(pk=post.pk)
    if post.author_id == flagger.pk:
        raise RefusedError(_("This is your own post: edit or delete it instead."))
    if not post.is_visible:
        raise RefusedError(_("This post is not visible any more."))
    if Flag.objects.filter(post=post, flagger=flagger).exists():
        raise RefusedError(_("You have flagged this post already."))
    pace.check_flag(flagger)
    flag = Flag.objects.create(post=post, flagger=flagger, reason=reason, note=note)
    Post.objects.filter(pk=post.pk).update(open_flags=F("open_flags") + 1)
    return flag
