"""What forum and later apps share: the post itself, votes, tags, flags, and what moderators did."""

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from common.ids import new_id


def post_id() -> str:
    return new_id("post")


def flag_id() -> str:
    return new_id("flag")


def act_id() -> str:
    return new_id("act")


class PostKind(models.TextChoices):
    QUESTION = "question", _("Question")
    ANSWER = "answer", _("Answer")
    COMMENT = "comment", _("Comment")


class PostState(models.TextChoices):
    VISIBLE = "visible", _("Visible")
    HIDDEN = "hidden", _("Hidden by a moderator")
    DELETED = "deleted", _("Deleted by its author")


class PostQuerySet(models.QuerySet["Post"]):
    def visible(self) -> Self:
        return self.filter(state=PostState.VISIBLE)

    def readable_by(self, user: User | AnonymousUser) -> Self:
        """What the user may read: what is visible and hangs on nothing hidden, their own, and for staff everything."""
        if isinstance(user, User) and user.is_staff:
            return self
        # Three levels are all there are: a comment on an answer to a question.
        for level in ("", "parent__", "parent__parent__"):
            readable = Q(**{f"{level}state": PostState.VISIBLE})
            if isinstance(user, User):
                readable |= Q(**{f"{level}author": user})
            if level:
                readable |= Q(**{f"{level}id": None})
            self = self.filter(readable)
        return self

    def for_queue(self) -> Self:
        """Posts with open flags, one row each."""
        return self.filter(open_flags__gt=0).select_related("author", "parent__parent")


class Post(models.Model):
    """Something a person wrote, whatever it is part of: votes, flags and moderation point here.

    `html` is what `common.markdown.render` made of `source`; pages show only it.
    """

    public_id = models.CharField(max_length=40, unique=True, default=post_id, editable=False)
    kind = models.CharField(_("kind"), max_length=10, choices=PostKind, editable=False)
    # What it answers or comments on.
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="replies", editable=False
    )
    # Kept from deletion: what becomes of the posts of someone who leaves is decided when their account is erased.
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="posts")
    source = models.TextField(_("Markdown"))
    html = models.TextField(_("HTML"), editable=False)
    renderer_version = models.PositiveSmallIntegerField(editable=False)
    language = models.CharField(_("language"), max_length=10, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=PostState, default=PostState.VISIBLE, editable=False)
    is_locked = models.BooleanField(_("locked"), default=False, editable=False)
    score = models.IntegerField(_("score"), default=0, editable=False)
    open_flags = models.PositiveIntegerField(_("open flags"), default=0, editable=False)
    revision = models.PositiveIntegerField(_("revision"), default=1, editable=False)
    # One per opened form, so that sending it twice makes one post.
    submission = models.CharField(max_length=40, blank=True, editable=False)
    is_sample = models.BooleanField(_("sample data"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    edited_at = models.DateTimeField(_("edited at"), null=True, editable=False)

    objects = PostQuerySet.as_manager()

    class Meta:
        verbose_name = _("post")
        verbose_name_plural = _("posts")
        constraints = [
            models.UniqueConstraint(
                fields=["author", "submission"], condition=~Q(submission=""), name="a_form_posts_once"
            ),
        ]
        indexes = [
            models.Index(fields=["author", "kind", "-created_at"], name="post_pace"),
            models.Index(fields=["-open_flags", "-id"], condition=Q(open_flags__gt=0), name="post_queue"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_visible(self) -> bool:
        return self.state == PostState.VISIBLE

    @property
    def is_frozen(self) -> bool:
        """Whether a lock on it, or on what it hangs on, keeps everybody from adding to it or changing it."""
        post: Post | None = self
        while post is not None:
            if post.is_locked:
                return True
            post = post.parent
        return False

    @property
    def takes_votes(self) -> bool:
        return self.kind != PostKind.COMMENT


class PostRevision(models.Model):
    """One version of a post, the first included; `title` and `tags` are those of what the post is part of."""

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField(_("number"))
    editor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    source = models.TextField(_("Markdown"))
    title = models.CharField(_("title"), max_length=200, blank=True)
    tags = models.CharField(_("tags"), max_length=200, blank=True)
    summary = models.CharField(_("what changed"), max_length=120, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("revision")
        verbose_name_plural = _("revisions")
        constraints = [
            models.UniqueConstraint(fields=["post", "number"], name="revisions_are_numbered"),
        ]
        indexes = [models.Index(fields=["editor", "-created_at"], name="revision_pace")]

    def __str__(self) -> str:
        return f"{self.post} · {self.number}"


class Vote(models.Model):
    """One person's opinion of one post."""

    UP = 1
    DOWN = -1

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="votes")
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="votes")
    value = models.SmallIntegerField(_("value"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        constraints = [
            models.UniqueConstraint(fields=["voter", "post"], name="one_vote_per_person"),
            models.CheckConstraint(condition=Q(value__in=[1, -1]), name="a_vote_is_up_or_down"),
        ]

    def __str__(self) -> str:
        return f"{self.value:+d}"


class Tag(models.Model):
    """A word that questions are sorted under."""

    name = models.CharField(_("name"), max_length=35, unique=True)
    description = models.CharField(_("description"), max_length=200, blank=True)
    question_count = models.PositiveIntegerField(_("questions"), default=0, editable=False)

    class Meta:
        verbose_name = _("tag")
        verbose_name_plural = _("tags")
        indexes = [models.Index(fields=["-question_count", "name"], name="tag_list")]

    def __str__(self) -> str:
        return self.name


class FlagReason(models.TextChoices):
    SPAM = "spam", _("Spam or advertising")
    ABUSE = "abuse", _("Rude or abusive")
    OFF_TOPIC = "off_topic", _("Not about building with models")
    WRONG = "wrong", _("Dangerously wrong")
    PRIVATE = "private", _("Shows personal data or a secret")
    OTHER = "other", _("Something else")


class FlagState(models.TextChoices):
    OPEN = "open", _("Open")
    UPHELD = "upheld", _("Upheld")
    DISMISSED = "dismissed", _("Dismissed")


class FlagQuerySet(models.QuerySet["Flag"]):
    def open(self) -> Self:
        return self.filter(state=FlagState.OPEN)


class Flag(models.Model):
    """A reader's notice to the moderators. One per person and post: a dismissed flag cannot be raised again."""

    public_id = models.CharField(max_length=40, unique=True, default=flag_id, editable=False)
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="flags")
    flagger = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="flags")
    reason = models.CharField(_("reason"), max_length=10, choices=FlagReason)
    note = models.CharField(_("note"), max_length=500, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=FlagState, default=FlagState.OPEN)
    # The act that closed it; undoing that act opens it again.
    act = models.ForeignKey("ModerationAct", on_delete=models.SET_NULL, null=True, blank=True, related_name="flags")
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = FlagQuerySet.as_manager()

    class Meta:
        verbose_name = _("flag")
        verbose_name_plural = _("flags")
        constraints = [
            models.UniqueConstraint(fields=["flagger", "post"], name="one_flag_per_person"),
        ]

    def __str__(self) -> str:
        return self.get_reason_display()


class ActKind(models.TextChoices):
    HIDE = "hide", _("Hid a post")
    RESTORE = "restore", _("Restored a post")
    LOCK = "lock", _("Locked a post")
    UNLOCK = "unlock", _("Unlocked a post")
    DISMISS = "dismiss", _("Dismissed flags")
    SUSPEND = "suspend", _("Suspended a person")
    READMIT = "readmit", _("Lifted a suspension")


class ModerationActQuerySet(models.QuerySet["ModerationAct"]):
    def for_log(self) -> Self:
        return self.select_related(
            "by", "person", "post__author", "post__parent__parent", "reverses", "reversed_by__by"
        )

    def matching(self, text: str) -> Self:
        """Those by or about somebody whose name holds `text`, or with a reason that does."""
        return self.filter(
            Q(by__name__icontains=text)
            | Q(person__name__icontains=text)
            | Q(post__author__name__icontains=text)
            | Q(reason__icontains=text)
        )


class ModerationAct(models.Model):
    """What a moderator did, why, and whether it was undone. Rows are only ever added."""

    UNDO_DAYS = 30

    public_id = models.CharField(max_length=40, unique=True, default=act_id, editable=False)
    kind = models.CharField(_("act"), max_length=10, choices=ActKind)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="moderation_acts")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, null=True, blank=True, related_name="moderation_acts")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="acts_upon"
    )
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    # The state of the post before, for putting it back.
    state_before = models.CharField(max_length=10, blank=True)
    reverses = models.OneToOneField(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="reversed_by", verbose_name=_("undoes")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = ModerationActQuerySet.as_manager()

    class Meta:
        verbose_name = _("moderation act")
        verbose_name_plural = _("moderation acts")
        constraints = [
            models.CheckConstraint(
                condition=Q(post__isnull=False) | Q(person__isnull=False), name="an_act_has_a_target"
            ),
        ]
        indexes = [models.Index(fields=["-created_at", "-id"], name="act_log")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {self.public_id}"

    @property
    def undo_until(self) -> datetime:
        return self.created_at + timedelta(days=self.UNDO_DAYS)

    @property
    def is_undoable(self) -> bool:
        return self.reverses_id is None and not hasattr(self, "reversed_by") and timezone.now() < self.undo_until
