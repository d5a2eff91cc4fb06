"""Keys, of the project that is chosen: the owner's for whoever takes part in it, else one's own."""

from tests.permissions.answers import (
    Address,
    everybody,
    signed_in,
    those_who_change_the_key,
    those_who_see_the_key,
)

WHO_MAKES_KEYS_WHERE_THEY_ARE = "200 200 200 403 403 200 200 in 200"

ROWS = [
    Address("apikeys:list", "/keys/", {"GET": signed_in()}),
    Address("apikeys:new", "/keys/new/",
            {"GET": WHO_MAKES_KEYS_WHERE_THEY_ARE, "POST": WHO_MAKES_KEYS_WHERE_THEY_ARE}, {"name": "laptop"}),
    Address("apikeys:management", "/keys/management/", {"GET": signed_in()}),
    Address("apikeys:new_management", "/keys/management/new/", {"GET": signed_in(), "POST": signed_in()},
            {"name": "terraform"}),
    Address("apikeys:health", "/keys/health/", {"GET": signed_in()}),
    Address("apikeys:policy", "/keys/policy/", {"GET": signed_in(), "POST": "302 302 403 403 403 403 302 in 302"},
            {"makers": "admins", "leaked": "flag"}),
    Address("apikeys:shorten", "/keys/policy/shorten/", {"POST": "302= 302= 403 403 403 403 302= in 302="}),
    Address("apikeys:detail", "/keys/{key}/", {"GET": those_who_see_the_key()}),
    Address("apikeys:edit", "/keys/{key}/edit/",
            {"GET": those_who_change_the_key(), "POST": those_who_change_the_key("302")}, {"name": "desktop"}),
    Address("apikeys:rotate", "/keys/{key}/rotate/", {"POST": those_who_change_the_key()}, {"overlap": "60"}),
    Address("apikeys:retire", "/keys/{key}/secrets/{old_secret}/retire/", {"POST": those_who_change_the_key("302")}),
    Address("apikeys:disable", "/keys/{key}/disable/", {"POST": those_who_change_the_key("302")}),
    Address("apikeys:enable", "/keys/{disabled_key}/enable/", {"POST": those_who_change_the_key("302")}),
    Address("apikeys:revoke", "/keys/{key}/revoke/", {"POST": those_who_change_the_key("302")}),
    Address("apikeys:fix", "/keys/{key}/fix/", {"POST": those_who_change_the_key("302")}, {"fix": "limit"}),
    # Having a key is the proof that one may have it revoked.
    Address("leaks:found", "/keys/found/", {"GET": everybody(), "POST": everybody("302")}, {"text": "{found_secret}"}),
    # Of a portal that takes no part in it; else what is not signed by GitHub is refused, whoever sends it.
    Address("leaks:github", "/keys/found/github/", {"POST": everybody("404")}),
    Address("leaks:scanning", "/keys/scanning/", {"GET": everybody()}),
    Address("leaks:rules", "/keys/scanning/gitleaks.toml", {"GET": everybody()}),
]  # fmt: skip
