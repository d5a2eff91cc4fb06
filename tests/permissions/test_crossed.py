"""Ids of somebody else's things behind an address of one's own: what is not in it is not found there."""

import pytest

from tests.permissions.answers import Address
from tests.permissions.asking import ask
from tests.permissions.cast import Cast

ORGANIZATION = "/organizations/{strangers_organization}"
HOOK = {"url": "https://example.com/other-hook"}

NOT_FOUND = [
    Address("accounts:member", ORGANIZATION + "/members/{member}/", {"GET": "404"}),
    Address("accounts:change_role", ORGANIZATION + "/members/{member}/role/", {"POST": "404"}, {"role": "viewer"}),
    Address("accounts:remove_member", ORGANIZATION + "/members/{member}/remove/", {"POST": "404"}),
    Address("accounts:transfer", ORGANIZATION + "/members/{member}/transfer/", {"POST": "404"}),
    Address("accounts:set_place", "/projects/{strangers_project}/members/{member}/role/", {"POST": "404"},
            {"role": "member"}),
    Address("accounts:remove_place", "/projects/{strangers_project}/members/{participant}/remove/", {"POST": "404"}),
    Address("apikeys:retire", "/keys/{strangers_key}/secrets/{old_secret}/retire/", {"POST": "404"}),
    Address("webhooks:endpoint", ORGANIZATION + "/webhooks/{endpoint}/", {"GET": "404"}),
    Address("webhooks:edit", ORGANIZATION + "/webhooks/{endpoint}/edit/", {"GET": "404", "POST": "404"}, HOOK),
    Address("webhooks:rotate", ORGANIZATION + "/webhooks/{endpoint}/secret/", {"POST": "404"}),
    Address("webhooks:remove", ORGANIZATION + "/webhooks/{endpoint}/remove/", {"POST": "404"}),
    Address("webhooks:delivery", ORGANIZATION + "/webhooks/{endpoint}/deliveries/{delivery}/", {"GET": "404"}),
    Address("webhooks:resend", ORGANIZATION + "/webhooks/{endpoint}/deliveries/{delivery}/resend/", {"POST": "404"}),
    Address("api-member", "/api" + ORGANIZATION + "/members/{member}/",
            {"GET": "404", "PATCH": "404", "DELETE": "404"}, {"role": "viewer"}),
    Address("api-transfer", "/api" + ORGANIZATION + "/members/{member}/transfer/", {"POST": "404"}),
    Address("api-project-member", "/api/projects/{strangers_project}/members/{participant}/",
            {"GET": "404", "PUT": "404", "DELETE": "404"}, {"role": "member"}),
    Address("api-key-secret-retire", "/api/keys/{strangers_key}/secrets/{old_secret}/retire/", {"POST": "404"}),
    Address("api-webhook", "/api" + ORGANIZATION + "/webhooks/{endpoint}/",
            {"GET": "404", "PATCH": "404", "DELETE": "404"}, HOOK),
    Address("api-webhook-secret", "/api" + ORGANIZATION + "/webhooks/{endpoint}/secret/", {"POST": "404"}),
    Address("api-webhook-deliveries", "/api" + ORGANIZATION + "/webhooks/{endpoint}/deliveries/", {"GET": "404"}),
    # A project of another organization, where one's own invites and lets people in.
    Address("accounts:invitations", ORGANIZATION + "/invitations/", {"POST": "400"},
            {"emails": "new@example.com", "role": "member", "projects": "{project_number}", "project_role": "admin"}),
    Address("accounts:join_links", ORGANIZATION + "/join-links/", {"POST": "400"},
            {"name": "Lab", "role": "member", "most_joins": "5", "ends_at": "2040-01-01",
             "project": "{project_number}", "project_role": "admin"}),
    Address("api-invitations", "/api" + ORGANIZATION + "/invitations/", {"POST": "400"},
            {"email": "new@example.com", "projects": ["{project}"], "project_role": "admin"}),
    Address("api-join-links", "/api" + ORGANIZATION + "/join-links/", {"POST": "400"},
            {"name": "Lab", "most_joins": 5, "ends_at": "2040-01-01T00:00:00Z", "project": "{project}"}),
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_FOUND, ids=lambda address: address.path)
def test_it_is_not_found_there(cast: Cast, address: Address) -> None:
    for method, word in address.answers.items():
        answer = ask(cast, "stranger", method, address)
        assert (answer.word, answer.writes) == (word, []), method
