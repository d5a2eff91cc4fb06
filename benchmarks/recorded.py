"""What the ledger has recorded, whether its sums and the counters agree with it, and what is still on its way."""

import orjson

from common import redis as servers
from usage.events import DEAD_LETTERS, STREAM
from usage.models import UsageEvent
from usage.reconciliation import reconcile, this_month_and_the_last


def main() -> None:
    """Print it."""
    client = servers.durable()
    found = reconcile(this_month_and_the_last())
    calls = UsageEvent.objects.values(
        "key_id", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano", "status", "is_estimated"
    )
    state = {
        "calls": list(calls),
        "waiting": client.xlen(STREAM),
        "running": sum(client.hlen(key) for key in client.scan_iter("ly:{*}:holds")),  # type: ignore[misc]
        "spooled": found.spooled,
        "buried": client.llen(DEAD_LETTERS),
        "differences": [
            f"{one.organization_id}, {one.what}: {one.found} instead of {one.truth}" for one in found.differences
        ],
    }
    print(orjson.dumps(state).decode())
