"""Who makes the calls: a key under every limit there is, none of which it ever meets, for models that cost."""

from accounts.services import open_workspace, register_verified
from apikeys.services import mint_key
from apikeys.terms import Terms
from benchmarks.stack import INPUT_NANO, OUTPUT_NANO
from catalog.models import HostedModel
from common import redis as servers
from common.money import NANO
from usage.admission import SINCE

PLENTY = 2_000_000_000
TERMS = Terms(
    requests_per_minute=PLENTY,
    tokens_per_minute=PLENTY,
    concurrent_requests=1_000_000,
    monthly_budget_nano=1_000_000 * NANO,
)


def main() -> None:
    """Print the key."""
    # A Redis that is new lets no budget be counted for some seconds.
    servers.durable().set(SINCE, 0)
    HostedModel.objects.update(input_price_nano=INPUT_NANO * 1_000_000, output_price_nano=OUTPUT_NANO * 1_000_000)
    user = register_verified(email="bench@example.com")
    print(mint_key(project=open_workspace(user=user), name="bench", by=user, terms=TERMS)[1])
