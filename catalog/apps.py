from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CatalogConfig(AppConfig):
    name = "catalog"
    verbose_name = _("Catalog")

    def ready(self) -> None:
        from catalog import checks, kinds, signals
        from notifications import registry

        signals.connect()
        checks.register()
        for kind in kinds.KINDS:
            registry.register(kind)
