from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CommunityConfig(AppConfig):
    name = "community"
    verbose_name = _("Community")

    def ready(self) -> None:
        from community.access import readable_posts
        from community.kinds import KINDS
        from notifications import registry

        for kind in KINDS:
            registry.register(kind)
        registry.register_reader("post_", readable_posts)
