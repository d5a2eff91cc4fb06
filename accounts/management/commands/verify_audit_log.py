"""Walks the seals of the audit log and names the first that does not hold."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.auditing.chain import Break, walk


class Command(BaseCommand):
    help = (
        "Checks that no event of the audit log was altered, added around it or taken away. Prints the last hash of "
        "each month: kept elsewhere, it proves the month later. Fails with the first break when there is one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for found in walk():
            if isinstance(found, Break):
                place = f"{found.month:%Y-%m}, number {found.number or '–'}, event {found.event_id}"
                raise CommandError(f"The audit log is broken at {place}: {found.reason}.")
            self.stdout.write(f"{found.month:%Y-%m}  {found.events:>9} events  {found.last_hash}")
