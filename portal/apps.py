from django.apps import AppConfig
from django.db import transaction


def load_sample_data_when_asked(sender: object, wants_sample_data: bool, **kwargs: object) -> None:
    from portal.tasks import load_sample_data

    if wants_sample_data:
        transaction.on_commit(load_sample_data.delay)


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self) -> None:
        from accounts.signals import operator_arrived
        from portal import checks  # noqa: F401  registers the system checks

        operator_arrived.connect(load_sample_data_when_asked, dispatch_uid="portal.load_sample_data")
