from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from community.models import Flag, ModerationAct, Post, PostRevision, Tag, Vote


class LookOnly(admin.ModelAdmin[Any]):
    """Moderating happens at the moderators' desk, where each act is recorded, told and can be undone."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RevisionInline(admin.TabularInline[PostRevision, Post]):
    model = PostRevision
    fields = ["number", "editor", "summary", "created_at"]
    readonly_fields = ["number", "editor", "summary", "created_at"]
    can_delete = False
    extra = 0
    max_num = 0


@admin.register(Post)
class PostAdmin(LookOnly):
    list_display = [
        "public_id",
        "kind",
        "author",
        "state",
        "is_locked",
        "score",
        "open_flags",
        "created_at",
        "is_sample",
    ]
    list_filter = ["kind", "state", "is_locked", "language", "is_sample", "created_at"]
    list_select_related = ["author"]
    search_fields = ["public_id", "author__email", "source"]
    inlines = [RevisionInline]


@admin.register(Flag)
class FlagAdmin(LookOnly):
    list_display = ["public_id", "reason", "state", "flagger", "post", "created_at"]
    list_filter = ["state", "reason", "created_at"]
    list_select_related = ["flagger", "post"]
    search_fields = ["public_id", "flagger__email", "post__public_id", "note"]


@admin.register(ModerationAct)
class ModerationActAdmin(LookOnly):
    list_display = ["public_id", "kind", "by", "person", "post", "reason", "created_at"]
    list_filter = ["kind", "created_at"]
    list_select_related = ["by", "person", "post"]
    search_fields = ["public_id", "by__email", "person__email", "post__public_id", "reason"]


@admin.register(Vote)
class VoteAdmin(LookOnly):
    list_display = ["voter", "post", "value", "created_at"]
    list_filter = ["value", "created_at"]
    list_select_related = ["voter", "post"]
    search_fields = ["voter__email", "post__public_id"]


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin[Tag]):
    list_display = ["name", "description", "question_count"]
    search_fields = ["name", "description"]
    readonly_fields = ["question_count"]
    fieldsets = [(None, {"fields": ["name", "description"]}), (_("Use"), {"fields": ["question_count"]})]
