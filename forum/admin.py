from typing import Any

from django.contrib import admin

from community.admin import LookOnly
from forum.models import Answer, Comment, Question


@admin.register(Question)
class QuestionAdmin(LookOnly):
    list_display = ["title", "public_id", "answer_count", "is_solved", "is_listed", "created_at", "last_activity_at"]
    list_filter = ["is_listed", "is_solved", "created_at"]
    search_fields = ["title", "public_id", "post__public_id", "post__author__email"]
    date_hierarchy = "created_at"


class ReplyAdmin(LookOnly):
    list_display: Any = ["public_id", "question", "post"]
    list_select_related = ["question", "post"]
    search_fields = ["public_id", "question__title", "post__public_id", "post__author__email"]


admin.site.register(Answer, ReplyAdmin)
admin.site.register(Comment, ReplyAdmin)
