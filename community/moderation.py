"""What moderators do. Every act is a row with a reason, is told to those it concerns, and can be undone."""

from collections.abc import Iterable

from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.audit import person_token, record
from accounts.models import User
from accounts.services import readmit_user, suspend_user
from community.errors import RefusedError
from community.models import ActKind, Flag, FlagState, ModerationAct, Post, PostState
from community.registry import place_of
from community.services import change_state
from notifications.services import notify


@transaction.atomic
def hide_post(*, post: Post, by: User, reason: str) -> ModerationAct:
    """Take a post from everybody's eyes but its author's and the staff's; its open flags are upheld."""
    _require_reason(reason)
    post = _locked(post)
    if post.state == PostState.HIDDEN:
        raise RefusedError(_("This post is hidden already."))
    act = _record(ActKind.HIDE, by=by, post=post, reason=reason)
    flaggers = _close_flags(post, FlagState.UPHELD, act)
    change_state(post, PostState.HIDDEN)
    _tell_author(post, "community.hidden", reason)
    _tell_flaggers(post, flaggers, "community.flag_upheld")
    return act


@transaction.atomic
def restore_post(*, post: Post, by: User, reason: str = "") -> ModerationAct:
    """Show a hidden or deleted post again."""
    post = _locked(post)
    if post.is_visible:
        raise RefusedError(_("This post is visible already."))
    act = _record(ActKind.RESTORE, by=by, post=post, reason=reason)
    change_state(post, PostState.VISIBLE)
    _tell_author(post, "community.restored", reason)
    return act


@transaction.atomic
def lock_post(*, post: Post, by: User, reason: str = "") -> ModerationAct:
    """Keep everybody from answering, commenting, voting and editing; everything stays readable."""
    post = _locked(post)
    if post.is_locked:
        raise RefusedError(_("This post is locked already."))
    act = _record(ActKind.LOCK, by=by, post=post, reason=reason)
    _set_lock(post, is_locked=True)
    _tell_author(post, "community.locked", reason)
    return act


@transaction.atomic
def unlock_post(*, post: Post, by: User, reason: str = "") -> ModerationAct:
    post = _locked(post)
    if not post.is_locked:
        raise RefusedError(_("This post is not locked."))
    act = _record(ActKind.UNLOCK, by=by, post=post, reason=reason)
    _set_lock(post, is_locked=False)
    _tell_author(post, "community.unlocked", reason)
    return act


@transaction.atomic
def dismiss_flags(*, post: Post, by: User, reason: str = "") -> ModerationAct:
    """Let the post stand as it is."""
    post = _locked(post)
    if not post.open_flags:
        raise RefusedError(_("This post has no open flags any more."))
    act = _record(ActKind.DISMISS, by=by, post=post, reason=reason)
    _tell_flaggers(post, _close_flags(post, FlagState.DISMISSED, act), "community.flag_dismissed")
    return act


@transaction.atomic
def suspend(*, person: User, by: User, reason: str, post: Post | None = None) -> ModerationAct:
    """Take from a person the right to write here. They can sign in and read, and their API keys go on working.

    `post` is what occasioned it.
    """
    _require_reason(reason)
    person = User.objects.select_for_update().get(pk=person.pk)
    if person.is_staff:
        raise RefusedError(_("Staff cannot be suspended here: an administrator takes their staff rights first."))
    if person.is_suspended:
        raise RefusedError(_("%(name)s is suspended already.") % {"name": person.display_name})
    act = _record(ActKind.SUSPEND, by=by, post=post, person=person, reason=reason)
    suspend_user(user=person, by=by)
    _tell_person(person, "community.suspended", reason)
    return act


@transaction.atomic
def readmit(*, person: User, by: User, reason: str = "") -> ModerationAct:
    person = User.objects.select_for_update().get(pk=person.pk)
    if not person.is_suspended:
        raise RefusedError(_("%(name)s is not suspended.") % {"name": person.display_name})
    act = _record(ActKind.READMIT, by=by, person=person, reason=reason)
    readmit_user(user=person, by=by)
    _tell_person(person, "community.readmitted", reason)
    return act


@transaction.atomic
def undo(*, act: ModerationAct, by: User) -> ModerationAct:
    """Put back what the act changed, and open again the flags it closed.

    Raises RefusedError when it was undone, is too old, or when something else has changed the same thing since.
    """
    act = ModerationAct.objects.select_for_update(of=("self",)).select_related("post", "person").get(pk=act.pk)
    if not act.is_undoable:
        raise RefusedError(
            _("This was undone already, or is older than %(days)s days.") % {"days": ModerationAct.UNDO_DAYS}
        )
    kind = ActKind(act.kind)
    if kind in {ActKind.SUSPEND, ActKind.READMIT}:
        return _undo_on_person(act, kind, by)
    return _undo_on_post(act, kind, by)


def _undo_on_person(act: ModerationAct, kind: ActKind, by: User) -> ModerationAct:
    if act.person is None:
        raise RefusedError(_stale())
    person = User.objects.select_for_update().get(pk=act.person.pk)
    if person.is_suspended != (kind == ActKind.SUSPEND):
        raise RefusedError(_stale())
    reversal = _record(_OPPOSITE[kind], by=by, post=act.post, person=person, reverses=act)
    if kind == ActKind.SUSPEND:
        readmit_user(user=person, by=by)
        _tell_person(person, "community.readmitted", "")
    else:
        suspend_user(user=person, by=by)
        _tell_person(person, "community.suspended", "")
    return reversal


def _undo_on_post(act: ModerationAct, kind: ActKind, by: User) -> ModerationAct:
    if act.post is None:
        raise RefusedError(_stale())
    post = _locked(act.post)
    if not _still_holds(post, act, kind):
        raise RefusedError(_stale())
    reversal = _record(_OPPOSITE[kind], by=by, post=post, reverses=act)
    if kind in {ActKind.HIDE, ActKind.RESTORE}:
        change_state(post, PostState(act.state_before))
        _tell_author(post, "community.restored" if post.is_visible else "community.hidden", "")
    elif kind in {ActKind.LOCK, ActKind.UNLOCK}:
        _set_lock(post, is_locked=kind == ActKind.UNLOCK)
        _tell_author(post, "community.locked" if post.is_locked else "community.unlocked", "")
    reopened = list(act.flags.select_related("flagger"))
    if reopened:
        act.flags.update(state=FlagState.OPEN, act=None)
        post.open_flags += len(reopened)
        post.save(update_fields=["open_flags"])
        _tell_flaggers(post, reopened, "community.flag_reopened")
    return reversal


_OPPOSITE = {
    ActKind.HIDE: ActKind.RESTORE,
    ActKind.RESTORE: ActKind.HIDE,
    ActKind.LOCK: ActKind.UNLOCK,
    ActKind.UNLOCK: ActKind.LOCK,
    ActKind.DISMISS: ActKind.DISMISS,
    ActKind.SUSPEND: ActKind.READMIT,
    ActKind.READMIT: ActKind.SUSPEND,
}


def _still_holds(post: Post, act: ModerationAct, kind: ActKind) -> bool:
    if kind == ActKind.DISMISS:
        return act.flags.exists()
    return {
        ActKind.HIDE: post.state == PostState.HIDDEN,
        ActKind.RESTORE: post.is_visible,
        ActKind.LOCK: post.is_locked,
        ActKind.UNLOCK: not post.is_locked,
    }[kind]


RECORDED_AS = {
    ActKind.HIDE: "post.hidden",
    ActKind.RESTORE: "post.restored",
    ActKind.LOCK: "post.locked",
    ActKind.UNLOCK: "post.unlocked",
    ActKind.DISMISS: "post.flags_dismissed",
}
"""What the audit log calls acts on posts. Those on people are recorded with what they do to the person."""


def _stale() -> str:
    return _("Something else has changed this since, so it cannot be undone in one step.")


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise RefusedError(_("Say why: the person concerned reads it."))


def _locked(post: Post) -> Post:
    """The post as it is now, kept from other moderators until the end of this act."""
    return Post.objects.select_for_update(of=("self",)).select_related("author", "parent__parent").get(pk=post.pk)


def _record(
    kind: ActKind,
    *,
    by: User,
    post: Post | None = None,
    person: User | None = None,
    reason: str = "",
    reverses: ModerationAct | None = None,
) -> ModerationAct:
    if post is not None and kind in RECORDED_AS:
        record(RECORDED_AS[kind], by=by, target=post, after={"author": person_token(post.author)})
    return ModerationAct.objects.create(
        kind=kind,
        by=by,
        post=post,
        person=person,
        reason=reason.strip(),
        state_before=post.state if post else "",
        reverses=reverses,
    )


def _set_lock(post: Post, *, is_locked: bool) -> None:
    post.is_locked = is_locked
    post.save(update_fields=["is_locked"])


def _close_flags(post: Post, state: FlagState, act: ModerationAct) -> list[Flag]:
    flags = list(post.flags.open().select_related("flagger"))
    post.flags.open().update(state=state, act=act)
    post.open_flags = 0
    post.save(update_fields=["open_flags"])
    return flags


def _tell_author(post: Post, kind: str, reason: str) -> None:
    place = place_of(post)
    notify(
        recipient=post.author,
        kind=kind,
        object_id=post.public_id,
        source=post.public_id,
        title=place.title,
        url=place.url,
        detail=reason,
    )


def _tell_flaggers(post: Post, flags: Iterable[Flag], kind: str) -> None:
    place = place_of(post)
    for flag in flags:
        # What they flagged may be gone for them; then the way leads to the list where they read this.
        can_read = Post.objects.readable_by(flag.flagger).filter(pk=post.parent_id or post.pk).exists()
        notify(
            recipient=flag.flagger,
            kind=kind,
            object_id=flag.public_id,
            title=place.title,
            url=place.url if can_read else reverse("notifications:list"),
        )


def _tell_person(person: User, kind: str, reason: str) -> None:
    notify(
        recipient=person,
        kind=kind,
        object_id=person.public_id,
        title="",
        url=reverse("notifications:list"),
        detail=reason,
    )
