"""How much one person may write. New accounts less: most spam comes from accounts a day old."""

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from community.errors import RefusedError
from community.models import Flag, Post, PostKind, PostRevision

NEW_FOR = timedelta(days=1)
PER_DAY = {PostKind.QUESTION: 20, PostKind.ANSWER: 60, PostKind.COMMENT: 120}
PER_DAY_WHEN_NEW = {PostKind.QUESTION: 5, PostKind.ANSWER: 15, PostKind.COMMENT: 30}
EDITS_PER_DAY = 60
FLAGS_PER_DAY = 20


def check_may_write(user: User) -> None:
    """Raises RefusedError for someone who is suspended."""
    if user.is_suspended:
        raise RefusedError(_("Your account is suspended: you can read, but not write, vote or flag."))


def check_post(author: User, kind: PostKind) -> None:
    """Raises RefusedError when the author has written as many posts of this kind today as one person may."""
    if author.is_staff:
        return
    now = timezone.now()
    most = (PER_DAY_WHEN_NEW if now - author.date_joined < NEW_FOR else PER_DAY)[kind]
    written = Post.objects.filter(author=author, kind=kind, created_at__gt=now - timedelta(days=1)).count()
    if written >= most:
        raise RefusedError(
            _(
                "You have written %(count)s of these in the last 24 hours, which is as many as one person may. "
                "Copy your text and come back later."
            )
            % {"count": written}
        )


def check_edit(editor: User) -> None:
    """Raises RefusedError when the editor has made as many edits today as one person may."""
    a_day_ago = timezone.now() - timedelta(days=1)
    edits = PostRevision.objects.filter(editor=editor, created_at__gt=a_day_ago, number__gt=1).count()
    if edits >= EDITS_PER_DAY and not editor.is_staff:
        raise RefusedError(_("You have made %(count)s edits in the last 24 hours. Come back later.") % {"count": edits})


def check_flag(flagger: User) -> None:
    """Raises RefusedError when the flagger has raised as many flags today as one person may."""
    a_day_ago = timezone.now() - timedelta(days=1)
    if Flag.objects.filter(flagger=flagger, created_at__gt=a_day_ago).count() >= FLAGS_PER_DAY:
        raise RefusedError(
            _("You have flagged %(count)s posts in the last 24 hours. Thank you; come back tomorrow.")
            % {"count": FLAGS_PER_DAY}
        )
