"""Compares the usage records with their sums and with what limits are counted with."""

import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.reconciliation import Reconciliation, reconcile, this_month_and_the_last


class Command(BaseCommand):
    help = (
        "Compares the events of usage with all sums of them and with the counters in Redis, and prints where they "
        "differ. The events are the truth."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--month", dest="months", action="append", type=_month, metavar="2026-03",
            help="a month (UTC) to compare; may be repeated. Without it: this month and the last",
        )  # fmt: skip
        parser.add_argument("--strict", action="store_true", help="exit with 1 when anything differs")
        parser.add_argument(
            "--repair", action="store_true", help="make the sums and the counters agree with the events"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        months = options["months"] or this_month_and_the_last()
        found = reconcile(months, repair=options["repair"])
        self._print(found)
        if options["repair"] and found.differences:
            found = reconcile(months)
            self.stdout.write(f"Repaired: {len(found.differences)} differences are left.")
        if options["strict"] and found.differences:
            raise CommandError("The usage records do not agree.", returncode=1)

    def _print(self, found: Reconciliation) -> None:
        for one in found.differences:
            period = f"{one.period[:4]}-{one.period[4:]}" if one.period else "now    "
            self.stdout.write(f"{period}  {one.organization_id}  {one.what}: {one.found} instead of {one.truth}")
        self.stdout.write(
            f"{found.events} events in the records and {found.waiting} waiting in the stream, {found.counters} "
            f"counters in Redis: {len(found.differences)} differences."
        )
        if found.spooled:
            self.stdout.write(f"{found.spooled} settlements wait on this machine's disk and count nowhere yet.")


def _month(text: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise ArgumentTypeError(f"{text} is no month such as 2026-03")
    return text.replace("-", "")
