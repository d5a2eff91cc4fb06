"""Who makes calls while parts of the portal are killed: keys of several organizations, with limits and without."""

import orjson

from accounts.services import open_workspace, register_verified
from apikeys.services import mint_key
from apikeys.terms import Terms
from common.money import NANO

ORGANIZATIONS = 4
PLENTY = 1000 * NANO
# Of each organization a key of each kind.
KINDS = (Terms(), Terms(monthly_budget_nano=PLENTY), Terms(monthly_budget_nano=PLENTY, concurrent_requests=2))


def main() -> None:
    """Print the keys of each organization."""
    keys = []
    for number in range(ORGANIZATIONS):
        user = register_verified(email=f"faults-{number}@example.com")
        project = open_workspace(user=user)
        minted = [mint_key(project=project, name="faults", by=user, terms=terms) for terms in KINDS]
        keys.append([{"id": key.public_id, "secret": secret} for key, secret in minted])
    print(orjson.dumps(keys).decode())
