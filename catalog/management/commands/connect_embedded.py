"""Run at every start: the demonstration model's address is a new one each time."""

from typing import Any

from django.core.management.base import BaseCommand

from catalog.services import connect_embedded


class Command(BaseCommand):
    help = "Offers the demonstration model that EMBEDDED_MODEL_URL names, or stops offering it when that is empty."

    def handle(self, *args: Any, **options: Any) -> None:
        backend = connect_embedded()
        if backend and options["verbosity"] > 1:
            self.stdout.write(f"The demonstration model is offered from {backend.base_url}.")
