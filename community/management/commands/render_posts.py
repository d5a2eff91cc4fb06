"""Makes the HTML of older posts again."""

from typing import Any

from django.core.management.base import BaseCommand

from community.services import render_outdated


class Command(BaseCommand):
    help = "Makes again the HTML of posts that an earlier version of the renderer made. Safe to stop and run again."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        while rendered := render_outdated():
            count += rendered
        if count:
            self.stdout.write(f"Posts rendered anew: {count}")
