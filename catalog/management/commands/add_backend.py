"""Connects an inference server from a shell or a script."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_slug
from django.urls import reverse

from catalog.discovery import DiscoveryError, FoundModel, normalize
from catalog.models import Backend, BackendKind
from catalog.services import ReservedNameError, connect_backend
from common.http import validate_base_url
from inference.uses import Use


class Command(BaseCommand):
    help = "Connects an inference server and offers every model it lists. A backend of the same NAME is updated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what to call it: letters, digits, hyphens, underscores")
        parser.add_argument("url", metavar="URL", help="its SDK base URL, ending in /v1 or not")
        parser.add_argument("--api-key-env", metavar="VAR", help="the environment variable that holds its API key")
        parser.add_argument("--kind", choices=BackendKind.values, help="what server it is (default: find out)")

    def handle(self, *args: Any, **options: Any) -> None:
        name, url = options["name"], normalize(options["url"])
        try:
            validate_slug(name)
            Backend._meta.get_field("name").run_validators(name)
        except ValidationError:
            raise CommandError(f"{name!r} is no name for a backend: use up to 60 letters, digits, - and _.") from None
        try:
            validate_base_url(url)
        except ValidationError as error:
            raise CommandError(f"{url}: {error.message}") from None
        kind = BackendKind(options["kind"]) if options["kind"] else None
        try:
            connected = connect_backend(
                name=name, base_url=url, credential=_credential(options["api_key_env"]), kind=kind
            )
        except ReservedNameError:
            raise CommandError(f"{name!r} is kept for the portal itself: choose another name.") from None
        except DiscoveryError as error:
            raise CommandError(f"{url}: {error}") from None
        backend = connected.backend
        done = "Connected" if connected.is_new else "Updated"
        self.stdout.write(f"{done} {backend.name}: {BackendKind(backend.kind).label} at {backend.base_url}")
        for model in connected.found:
            self.stdout.write(f"  {model.name}{_described(model, is_new=model.name in connected.added)}")
        for model_name in connected.vanished:
            self.stdout.write(f"  {model_name}  no longer listed there, so no longer served from there")
        for model_name in connected.passed_over:
            self.stdout.write(f"  {model_name}  not hosted: another model has this name as an alias")
        if not backend.is_enabled:
            self.stdout.write(f"No call goes there while it is turned off: turn it on at {_page(backend)}")


def _page(backend: Backend) -> str:
    return settings.PUBLIC_URL + reverse("catalog:backend", args=[backend.name])


def _credential(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable, "").strip()
    if not value:
        raise CommandError(f"The environment variable {variable} is not set, or is empty.")
    return value


def _described(model: FoundModel, *, is_new: bool) -> str:
    facts = [
        f"{model.context_window} tokens of context" if model.context_window else "",
        ", ".join(sorted(model.uses - {Use.CHAT})),
        "" if is_new else "known already",
    ]
    said = ", ".join(fact for fact in facts if fact)
    return f"  ({said})" if said else ""
