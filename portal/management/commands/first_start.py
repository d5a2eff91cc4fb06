"""What `make run` prints once the portal is ready: the operator's one-time link, and what it found on the machine."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse

from accounts.models import User
from accounts.services import invite_operator
from catalog.models import Backend
from catalog.services import find_local_servers


class Command(BaseCommand):
    help = "Prints a one-time link for the first staff account, and offers inference servers found on this machine."

    def handle(self, *args: Any, **options: Any) -> None:
        if User.objects.filter(is_staff=True, is_sample=False).exists():
            return
        link = settings.PUBLIC_URL + reverse("accounts:setup", args=[invite_operator()])
        self.stdout.write(f"No staff account yet. Make the first with this link, which works once:\n  {link}")
        self.stdout.write(
            "It offers sample data to look around in; `.venv/bin/python manage.py sample_data --remove` takes it away."
        )
        connected = set(Backend.objects.values_list("base_url", flat=True))
        for server in find_local_servers():
            if server.base_url not in connected:
                self.stdout.write(
                    f"Found {server.label} at {server.base_url}. Connect it with:\n"
                    f"  .venv/bin/python manage.py add_backend {server.name} {server.base_url}"
                )
