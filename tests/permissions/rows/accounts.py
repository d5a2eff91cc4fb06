"""A person's own account, the way in, and the terms."""

from tests.permissions.answers import Address, everybody, owner, signed_in, staff, whose_it_is

ROWS = [
    Address("accounts:settings", "/settings/", {"GET": signed_in(), "POST": signed_in("302")},
            {"name": "Another Name", "language": "en"}),
    # The owner has a second factor, and allauth adds no address to such an account.
    Address("accounts:addresses", "/accounts/email/",
            {"GET": signed_in(), "POST": "200= 302 302 302 302 302 302 in 302"},
            {"email": "second@example.com", "action_add": ""}),
    # Ends all other sessions of one's own: the owner has one.
    Address("accounts:sessions", "/accounts/sessions/",
            {"GET": signed_in(), "POST": "302 302= 302= 302= 302= 302= 302= in 302="}),
    Address("accounts:end_session", "/settings/sessions/{session}/end/", {"POST": whose_it_is("302")}),
    Address("accounts:data", "/settings/data/", {"GET": signed_in()}),
    Address("accounts:start_export", "/settings/data/export/", {"POST": signed_in("302")}),
    Address("accounts:export_progress", "/settings/data/export/progress/", {"GET": signed_in()}),
    Address("accounts:download_export", "/settings/data/export/{export}/", {"GET": whose_it_is()}),
    # An owner whom others depend on hands over first.
    Address("accounts:erase", "/settings/data/erase/",
            {"GET": signed_in(), "POST": "302= 302 302 302 302 302 302 in 302="}, {"address": "{own_address}"}),
    Address("accounts:erase", "/settings/data/erase/", {"POST": signed_in("400")}, {"address": "gone@example.com"}),
    Address("accounts:erased", "/erased/{erasure}/", {"GET": everybody()}),
    Address("accounts:second_factor", "/second-factor/", {"GET": signed_in()}),
    Address("accounts:second_factor_policy", "/organizations/{organization}/second-factor/",
            {"GET": owner(), "POST": owner("302")}, {"requires_second_factor": "on"}),
    Address("accounts:mail", "/mail/", {"GET": signed_in()}),
    # Whoever has the link of the first start may make a staff account, once.
    Address("accounts:setup", "/setup/{setup_token}/", {"GET": everybody(), "POST": everybody("302")},
            {"email": "operator@example.com", "password": "a long enough password"}),
    Address("accounts:terms", "/terms/", {"GET": everybody()}),
    Address("accounts:accept_terms", "/terms/{terms}/accept/", {"POST": signed_in("302")}),
    Address("accounts:publish_terms", "/terms/publish/", {"GET": staff(), "POST": staff("302")},
            {"english": "Be kind.", "in_force_at": "2040-01-01T00:00"}),
    Address("audit:everything", "/audit/", {"GET": staff()}),
    Address("audit:everything_file", "/audit/log.csv", {"GET": staff()}),
    Address("notifications:list", "/notifications/", {"GET": signed_in()}),
    Address("notifications:follow", "/notifications/{notification}/", {"GET": whose_it_is("302")}),
    Address("notifications:read_all", "/notifications/read/", {"POST": signed_in("302")}),
    Address("notifications:mail", "/notifications/mail/", {"POST": signed_in("302")}, {"wants_mail": "no"}),
    # Whoever has the link of a mail may stop the mail.
    Address("notifications:unsubscribe", "/notifications/unsubscribe/{unsubscribe_token}/",
            {"GET": everybody(), "POST": everybody()}),
]  # fmt: skip
