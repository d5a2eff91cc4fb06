"""Puts sample data in, or takes it out again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.sample.loading import load_sample_data, remove_sample_data


class Command(BaseCommand):
    help = "Fills the portal with labelled sample data to look around in; --remove takes it all away again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--remove", action="store_true", help="remove the sample data")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["remove"]:
            kept = remove_sample_data()
            self.stdout.write("The sample data is removed.")
            if kept.threads:
                self.stdout.write(f"{kept.threads} of its threads stay, because real people wrote in them.")
            if kept.people:
                names = ", ".join(kept.people)
                self.stdout.write(f"These sample people stay, because something they wrote does: {names}.")
        elif load_sample_data():
            self.stdout.write("Sample data is in. `sample_data --remove` takes it away again.")
        else:
            self.stdout.write("The sample data is there already. `sample_data --remove` takes it away.")
