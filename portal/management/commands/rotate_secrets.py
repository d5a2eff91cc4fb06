"""Brings what is stored under the newest secrets, and says when the older ones can go."""

import os
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apikeys.verification import current_pepper_version
from portal.embedded import state
from portal.rotation import Needed, encrypt_anew, needed

MANUAL = "docs/operators/secrets.md"


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret anew with the first of FIELD_ENCRYPTION_KEYS, while the portal runs, and says "
        "which older keys, peppers and values of SECRET_KEY are still needed. Begin it again if it was stopped. "
        f"{MANUAL} has the steps in order."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_mutually_exclusive_group()
        steps.add_argument("--check", action="store_true", help="change nothing; fail while anything old is needed")
        steps.add_argument("--new", action="store_true", help="add new secrets to those that `make run` made")
        steps.add_argument("--drop", action="store_true", help="take out of those what nothing needs any more")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new"]:
            self._new()
            return
        self._refuse_before_restart()
        found = needed() if options["check"] or options["drop"] else encrypt_anew()
        self._tell(found)
        if options["drop"]:
            self._drop(found)
        elif options["check"] and (found.old_values or found.old_peppers or found.old_sessions):
            raise CommandError("Older secrets are still needed.")
        if found.lost_values or found.lost_peppers:
            raise CommandError(
                "Something was kept with a secret that is no longer set. Put that back, or enter the values again and "
                "rotate the keys."
            )

    def _tell(self, found: Needed) -> None:
        self.stdout.write("FIELD_ENCRYPTION_KEYS")
        for column in found.columns:
            lost = f", {column.lost} that no key decrypts" if column.lost else ""
            self.stdout.write(f"  {column.label}: {column.values} kept, {column.old} under an older key{lost}")
        if found.old_values:
            self.stdout.write("  Run this command without an option: it encrypts them anew.")
        elif len(settings.FIELD_ENCRYPTION_KEYS) > 1 and not found.lost_values:
            self.stdout.write("  All are under the first key. Once every process has it, take the others out.")
        self.stdout.write("KEY_PEPPERS")
        for version, count in found.peppers.items():
            self.stdout.write(f"  {version}: {self._of_pepper(version, count, found)}")
        self.stdout.write("SECRET_KEY")
        self.stdout.write(f"  {self._of_sessions(found)}")

    def _of_pepper(self, version: int, count: int, found: Needed) -> str:
        if version in found.lost_peppers:
            return f"not set, yet needed by {_secrets(count)}: these keys do not work."
        if version == current_pepper_version():
            return f"hashes new keys; needed by {_secrets(count)}."
        if count:
            return f"needed by {_secrets(count)}. Only the holders know them: rotate (Keys, Key health)."
        return "nothing hangs on it. Take it out."

    def _of_sessions(self, found: Needed) -> str:
        if not settings.SECRET_KEY_FALLBACKS:
            return "No older value is accepted."
        if found.old_sessions:
            browsers = "1 browser has" if found.old_sessions == 1 else f"{found.old_sessions} browsers have"
            return f"{browsers} not been here since it was changed; without it, people there sign in anew."
        return (
            "No browser hangs on SECRET_KEY_FALLBACKS. Take them out three days after the change: links last so long."
        )

    def _new(self) -> None:
        known = self._made_here()
        self._refuse_before_restart()
        state.write_json(state.secrets_path(settings.VAR_DIR), state.with_new_secrets(known))
        self.stdout.write("Made new secrets; the older ones are still accepted. Restart the portal, then run:")
        self.stdout.write("  .venv/bin/python manage.py rotate_secrets")

    def _drop(self, found: Needed) -> None:
        known = self._made_here()
        kept = dict(known)
        if not found.old_values and not found.lost_values:
            kept["FIELD_ENCRYPTION_KEYS"] = settings.FIELD_ENCRYPTION_KEYS[0]
        kept["KEY_PEPPERS"] = ",".join(
            pepper
            for pepper in settings.KEY_PEPPERS
            if (version := int(pepper.partition(":")[0])) == current_pepper_version() or version in found.old_peppers
        )
        # Links to reset a password were mailed before the change.
        unchanged_seconds = time.time() - int(known["SECRET_KEY_CHANGED_AT"])
        if not found.old_sessions and unchanged_seconds > settings.PASSWORD_RESET_TIMEOUT:
            kept["SECRET_KEY_FALLBACKS"] = ""
        if kept == known:
            self.stdout.write("Nothing was taken out.")
            return
        state.write_json(state.secrets_path(settings.VAR_DIR), kept)
        self.stdout.write("Took out what nothing needs any more. Restart the portal.")

    def _made_here(self) -> dict[str, str]:
        """The secrets in the state folder, where they are the ones in use."""
        set_outside = [name for name in state.ROTATED if os.environ.get(name)]
        if set_outside or not state.secrets_path(settings.VAR_DIR).exists():
            names = ", ".join(set_outside) or "the secrets"
            raise CommandError(f"You set {names} yourself, so change them where you set them: {MANUAL}.")
        return state.load_secrets(settings.VAR_DIR)

    def _refuse_before_restart(self) -> None:
        """What runs would not know the keys that this command encrypts with."""
        made = state.read_json(state.secrets_path(settings.VAR_DIR))
        in_use = ",".join(settings.FIELD_ENCRYPTION_KEYS)
        set_outside = os.environ.get("FIELD_ENCRYPTION_KEYS")
        if made and not set_outside and made.get("FIELD_ENCRYPTION_KEYS", in_use) != in_use:
            raise CommandError("The secrets were changed since the portal was started. Restart it first.")


def _secrets(count: int) -> str:
    return "1 secret of a key" if count == 1 else f"{count} secrets of keys"
