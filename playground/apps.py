from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PlaygroundConfig(AppConfig):
    name = "playground"
    verbose_name = _("Playground")

    def ready(self) -> None:
        from accounts import holdings
        from playground.holding import HOLDING

        holdings.register(HOLDING)
