"""Every named address of the portal, with what each role gets from each of its methods."""

from tests.permissions.answers import Address
from tests.permissions.rows import accounts, api, community, keys, organizations, pages, sign_in

OURS: list[Address] = [
    *accounts.ROWS,
    *organizations.ROWS,
    *keys.ROWS,
    *pages.ROWS,
    *community.ROWS,
    *api.ROWS,
]
OTHERS: list[Address] = sign_in.ROWS
"""Those whose views are Django's and allauth's: what else their methods do is tested there."""
TABLE = [*OURS, *OTHERS]
