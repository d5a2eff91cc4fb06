from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ForumConfig(AppConfig):
    name = "forum"
    verbose_name = _("Forum")

    def ready(self) -> None:
        from community import registry as places
        from community.models import PostKind
        from forum import receivers  # noqa: F401
        from forum.kinds import KINDS
        from forum.places import of_answers, of_comments, of_questions
        from forum.services import SEARCH_KIND
        from notifications import registry as notifications
        from search import registry as search

        places.register(PostKind.QUESTION, of_questions)
        places.register(PostKind.ANSWER, of_answers)
        places.register(PostKind.COMMENT, of_comments)
        for kind in KINDS:
            notifications.register(kind)
        search.register(SEARCH_KIND, _("Question"), plural=_("Questions"))
