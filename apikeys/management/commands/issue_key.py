"""Prints a new key for scripts."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from accounts.models import User
from accounts.projects.services import open_service_account
from accounts.services import open_workspace, register_verified
from apikeys.models import KeyKind
from apikeys.services import mint_key, mint_management_key
from apikeys.terms import PolicyViolationError


class Command(BaseCommand):
    help = (
        "Prints a new API key alone on standard output. An unknown address becomes a verified user with a workspace. "
        "A service key is of the service account called --name, which is made where there is none."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="whose key it is")
        parser.add_argument("--name", default="Command line", help="what will use it")
        parser.add_argument("--kind", choices=KeyKind.values, default=KeyKind.PROJECT.value, help="what it opens")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            validate_email(options["email"])
        except ValidationError:
            raise CommandError(f"{options['email']!r} is no e-mail address.") from None
        user = register_verified(email=options["email"])
        try:
            self.stdout.write(self._secret(user, KeyKind(options["kind"]), options["name"][:80]))
        except PolicyViolationError as violation:
            raise CommandError(str(violation)) from None

    def _secret(self, user: User, kind: KeyKind, name: str) -> str:
        if kind is KeyKind.MANAGEMENT:
            return mint_management_key(owner=user, name=name)[1]
        project = open_workspace(user=user)
        account = open_service_account(project=project, name=name, by=user) if kind is KeyKind.SERVICE else None
        return mint_key(project=project, name=name, by=user, service_account=account)[1]
