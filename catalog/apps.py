from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CatalogConfig(AppConfig):
    name = "catalog"
    verbose_name = _("Catalog")

    def ready(self) -> None:
        from accounts import holdings
        from accounts.auditing import actions as audit_log
        from catalog import actions, checks, kinds, signals
        from catalog.holding import HOLDING
        from notifications import registry

        signals.connect()
        holdings.register(HOLDING)
        checks.register()
        audit_log.register(actions.ACTIONS)
        for kind in kinds.KINDS:
            registry.register(kind)
