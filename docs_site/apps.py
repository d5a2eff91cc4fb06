from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DocsSiteConfig(AppConfig):
    name = "docs_site"
    verbose_name = _("Docs")

    def ready(self) -> None:
        from docs_site.services import SEARCH_KIND
        from search import registry

        registry.register(SEARCH_KIND, _("Docs"))
