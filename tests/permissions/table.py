"""Every address of the pages and the API, with what each role gets from each of its methods."""

from tests.permissions.answers import Address
from tests.permissions.rows import accounts, admin, api, community, keys, organizations, pages, sign_in

TABLE: list[Address] = [
    *accounts.ROWS,
    *organizations.ROWS,
    *keys.ROWS,
    *pages.ROWS,
    *community.ROWS,
    *api.ROWS,
    *sign_in.ROWS,
    *admin.ROWS,
]
