"""Puts the tutorials into the search index."""

from typing import Any

from django.core.management.base import BaseCommand

from docs_site.services import index_tutorials


class Command(BaseCommand):
    help = "Puts the tutorials into the search index as they are now. `make run` does it at every start."

    def handle(self, *args: Any, **options: Any) -> None:
        index_tutorials()
