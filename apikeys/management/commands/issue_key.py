"""Prints a new key for scripts."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from accounts.services import open_workspace, register_verified
from apikeys.services import mint_key


class Command(BaseCommand):
    help = "Prints a new API key alone on standard output. An unknown address becomes a verified user with a workspace."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="whose key it is")
        parser.add_argument("--name", default="Command line", help="what will use it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            validate_email(options["email"])
        except ValidationError:
            raise CommandError(f"{options['email']!r} is no e-mail address.") from None
        user = register_verified(email=options["email"])
        _key, secret = mint_key(project=open_workspace(user=user), name=options["name"][:80], by=user)
        self.stdout.write(secret)
