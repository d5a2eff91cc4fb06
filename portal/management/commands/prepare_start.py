"""Run by `make run` at every start, in one process: loading Django three times would cost the start seconds."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Brings the database up to date, offers the demonstration model and, in production, collects static files."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("connect_embedded", verbosity=0)
        call_command("index_docs")
        call_command("render_posts")
        if settings.PRODUCTION:
            call_command("collectstatic", interactive=False, verbosity=0)
