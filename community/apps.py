from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CommunityConfig(AppConfig):
    name = "community"
    verbose_name = _("Community")

    def ready(self) -> None:
        from accounts import holdings
        from accounts.auditing import actions
        from community.access import readable_posts
        from community.actions import ACTIONS
        from community.holding import HOLDING
        from community.kinds import KINDS
        from notifications import registry

        holdings.register(HOLDING)
        actions.register(ACTIONS)
        for kind in KINDS:
            registry.register(kind)
        registry.register_reader("post_", readable_posts)
