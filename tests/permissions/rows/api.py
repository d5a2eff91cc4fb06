"""The REST API, asked with a session."""

from tests.permissions.answers import (
    Address,
    by_api,
    everybody,
    insiders,
    makers_of_keys,
    managers,
    owner,
    signed_in,
    those_who_change_the_key,
    those_who_see_keys,
    those_who_see_people,
    those_who_see_the_key,
    those_who_see_usage,
    whose_it_is,
)

ORGANIZATION = "/api/organizations/{organization}"
MEMBER = ORGANIZATION + "/members/{member}"
ONESELF = ORGANIZATION + "/members/{own_id}"
PROJECT = "/api/projects/{project}"
PLACE = PROJECT + "/members/{participant}"
WEBHOOKS = ORGANIZATION + "/webhooks"
WEBHOOK = WEBHOOKS + "/{endpoint}"
COHORT = {"name": "Databases 102", "most_joins": 50, "ends_at": "2040-01-01T00:00:00Z"}
HOOK = {"url": "https://example.com/other-hook"}
RUN = {"model": "{model}", "messages": [{"role": "user", "content": "Say hello."}]}

ROWS = [
    # Whatever else is asked for below it.
    Address("/api/", "/api/nothing/", dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), everybody("404"))),
    Address("api-root", "/api/", {"GET": everybody()}),
    Address("api-schema", "/api/schema/", {"GET": everybody()}),
    Address("api-models", "/api/models/", {"GET": everybody()}),
    Address("api-leaks", "/api/leaks/", {"POST": everybody("202")}, {"key": "{found_secret}"}),
    # Organizations and their people
    Address("api-organizations", "/api/organizations/",
            {"GET": by_api(signed_in()), "POST": by_api(signed_in("201"))}, {"name": "Another"}),
    Address("api-organization", ORGANIZATION + "/", {"GET": by_api(insiders()), "PATCH": by_api(managers())},
            {"name": "Renamed"}),
    Address("api-members", ORGANIZATION + "/members/", {"GET": by_api(those_who_see_people())}),
    Address("api-member", MEMBER + "/",
            {"GET": by_api(those_who_see_people()), "PATCH": by_api(managers()), "DELETE": by_api(managers("204"))},
            {"role": "viewer"}),
    # As on the pages: an admin makes no owners, nobody makes more of themselves, the only owner stays.
    Address("api-member", MEMBER + "/", {"PATCH": "200 403 403 403 403 403 404 401 404"}, {"role": "owner"}),
    Address("api-member", ONESELF + "/",
            {"GET": by_api(insiders()), "PATCH": "200= 403 403 403 403 403 404 401 404",
             "DELETE": "409 204 204 204 204 204 404 401 404"}, {"role": "owner"}),
    Address("api-transfer", MEMBER + "/transfer/", {"POST": by_api(owner("204"))}),
    Address("api-transfer", ONESELF + "/transfer/", {"POST": by_api(owner("204="))}),
    Address("api-invitations", ORGANIZATION + "/invitations/",
            {"GET": by_api(managers()), "POST": by_api(managers("201"))}, {"email": "new@example.com"}),
    Address("api-invitations", ORGANIZATION + "/invitations/", {"POST": by_api(owner("201"))},
            {"email": "new@example.com", "role": "owner"}),
    Address("api-invitation", "/api/invitations/{invitation}/",
            {"GET": by_api(managers()), "DELETE": by_api(managers("204"))}),
    Address("api-invitation-resend", "/api/invitations/{invitation}/resend/", {"POST": by_api(managers("202"))}),
    Address("api-join-links", ORGANIZATION + "/join-links/",
            {"GET": by_api(managers()), "POST": by_api(managers("201"))},
            {"name": "Lab", "most_joins": 5, "ends_at": "2040-01-01T00:00:00Z"}),
    Address("api-join-link", "/api/join-links/{join_link}/",
            {"GET": by_api(managers()), "PATCH": by_api(managers())}, {"is_on": False}),
    Address("api-cohorts", ORGANIZATION + "/cohorts/",
            {"GET": by_api(managers()), "POST": by_api(managers("201"))}, COHORT),
    Address("api-cohort", "/api/cohorts/{cohort}/", {"GET": by_api(managers()), "PATCH": by_api(managers())}, COHORT),
    Address("api-cohort-allowances", "/api/cohorts/{cohort}/allowances/", {"GET": by_api(managers())}),
    Address("api-roster", "/api/cohorts/{cohort}/roster/", {"GET": by_api(managers())}),
    Address("api-audit-events", "/api/audit/events/?organization={organization}", {"GET": by_api(managers())}),
    Address("api-audit-events", "/api/audit/events/", {"GET": "400 400 400 400 400 400 400 401 200"}),
    Address("api-audit-events-file", "/api/audit/events.csv?organization={organization}",
            {"GET": by_api(managers())}),
    Address("api-audit-events-file", "/api/audit/events.jsonl", {"GET": "400 400 400 400 400 400 400 401 200"}),
    # Projects
    Address("api-projects", ORGANIZATION + "/projects/",
            {"GET": by_api(insiders()), "POST": by_api(managers("201"))}, {"name": "Another"}),
    Address("api-project", PROJECT + "/", {"GET": by_api(insiders()), "PATCH": by_api(managers())},
            {"name": "Renamed"}),
    Address("api-project-members", PROJECT + "/members/", {"GET": by_api(those_who_see_people())}),
    Address("api-project-member", PLACE + "/",
            {"GET": "200 200 200 200 403 403 404 401 404", "PUT": by_api(managers()),
             "DELETE": by_api(managers("204"))}, {"role": "viewer"}),
    Address("api-service-accounts", PROJECT + "/service-accounts/",
            {"GET": by_api(those_who_see_keys()), "POST": by_api(managers("201"))}, {"name": "weekly"}),
    Address("api-service-account", "/api/service-accounts/{service_account}/",
            {"GET": by_api(those_who_see_keys()), "PATCH": by_api(managers()), "DELETE": by_api(managers("204"))},
            {"name": "weekly"}),
    # Keys
    Address("api-keys", "/api/keys/?project={project}",
            {"GET": by_api(insiders()), "POST": by_api(makers_of_keys())}, {"name": "laptop"}),
    # Who makes keys makes none for a program: it would outlive their place.
    Address("api-keys", "/api/keys/?project={project}", {"POST": "201 201 400 403 403 400 404 401 404"},
            {"name": "nightly", "kind": "service", "service_account": "nightly"}),
    Address("api-keys", "/api/keys/?kind=management",
            {"GET": by_api(signed_in()), "POST": by_api(signed_in("201"))},
            {"name": "terraform", "kind": "management"}),
    Address("api-keys-health", "/api/keys/health/?project={project}&finding=too_wide", {"GET": by_api(insiders())}),
    Address("api-keys-policy", "/api/keys/policy/?organization={organization}",
            {"GET": by_api(insiders()), "PATCH": by_api(managers())}, {"makers": "admins"}),
    Address("api-keys-policy-shorten", "/api/keys/policy/shorten/?organization={organization}",
            {"POST": by_api(managers("200="))}),
    Address("api-key", "/api/keys/{key}/",
            {"GET": by_api(those_who_see_the_key()), "PATCH": by_api(those_who_change_the_key())}, {"name": "desktop"}),
    Address("api-key-disable", "/api/keys/{key}/disable/", {"POST": by_api(those_who_change_the_key())}),
    Address("api-key-enable", "/api/keys/{disabled_key}/enable/", {"POST": by_api(those_who_change_the_key())}),
    Address("api-key-revoke", "/api/keys/{key}/revoke/", {"POST": by_api(those_who_change_the_key())}),
    Address("api-key-rotate", "/api/keys/{key}/rotate/", {"POST": by_api(those_who_change_the_key())}),
    Address("api-key-secret-retire", "/api/keys/{key}/secrets/{old_secret}/retire/",
            {"POST": by_api(those_who_change_the_key())}),
    # Usage and the playground
    Address("api-usage-summary", "/api/usage/summary/?project={project}&group_by=key", {"GET": by_api(insiders())}),
    Address("api-usage-allowance", "/api/usage/allowance/?project={project}", {"GET": by_api(insiders())}),
    Address("api-usage-calls", "/api/usage/calls/?project={project}", {"GET": by_api(insiders())}),
    Address("api-usage-calls", "/api/usage/calls/?project={project}&outcome=failed&key={key}",
            {"GET": by_api(insiders())}),
    Address("api-usage-call", "/api/usage/calls/{call}/", {"GET": by_api(those_who_see_usage())}),
    Address("api-runs", "/api/runs/?project={project}",
            {"GET": by_api(signed_in()), "POST": by_api(makers_of_keys())}, RUN),
    Address("api-run", "/api/runs/{run}/", {"GET": by_api(whose_it_is()), "DELETE": by_api(whose_it_is("204"))}),
    Address("api-run-stop", "/api/runs/{running}/stop/", {"POST": by_api(whose_it_is("202"))}),
    # Webhooks
    Address("api-webhooks", WEBHOOKS + "/", {"GET": by_api(managers()), "POST": by_api(managers("201"))}, HOOK),
    Address("api-webhook", WEBHOOK + "/",
            {"GET": by_api(managers()), "PATCH": by_api(managers()), "DELETE": by_api(managers("204"))}, HOOK),
    Address("api-webhook-enabled", WEBHOOK + "/enabled/", {"PUT": by_api(managers())}, {"is_enabled": False}),
    Address("api-webhook-secret", WEBHOOK + "/secret/", {"POST": by_api(managers())}),
    Address("api-webhook-test", WEBHOOK + "/test/", {"POST": by_api(managers("202"))}),
    Address("api-webhook-deliveries", WEBHOOK + "/deliveries/", {"GET": by_api(managers())}),
    Address("api-webhook-resend", WEBHOOK + "/deliveries/{delivery}/resend/", {"POST": by_api(managers("202"))}),
]  # fmt: skip
