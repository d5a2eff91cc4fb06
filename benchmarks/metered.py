"""How many calls are in the ledger, once everything that waits for it has got there."""

from usage.ingest import drain
from usage.models import UsageEvent


def main() -> None:
    """Print the number."""
    while drain():
        pass
    print(UsageEvent.objects.count())
