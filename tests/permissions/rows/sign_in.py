"""The addresses of Django and allauth: signing in and up, and what people keep about how they do."""

from tests.conftest import PASSWORD
from tests.permissions.answers import Address, everybody, signed_in

AWAY = signed_in("302")
AWAY_UNCHANGED = signed_in("302=")
"""Of a step that somebody signed in has no business with, or that has none before it."""
ONLY_VISITORS = "302 302 302 302 302 302 302 200 302"
WITH_A_FACTOR = "200 404 404 404 404 404 404 in 404"
"""The owner alone has a second factor here, by a code that is never right."""
OTHER_PASSWORD = "another long enough password"
NOTHING_BEFORE = {"code": "123456"}

ROWS = [
    Address("set_language", "/i18n/setlang/", {"GET": everybody("302"), "POST": everybody("302=")},
            {"language": "zh-hans"}),
    # That somebody tried is written down.
    Address("account_login", "/accounts/login/",
            {"GET": ONLY_VISITORS, "POST": "302= 302= 302= 302= 302= 302= 302= 200 302="},
            {"login": "nobody@example.com", "password": PASSWORD}),
    Address("account_signup", "/accounts/signup/",
            {"GET": ONLY_VISITORS, "POST": "302= 302= 302= 302= 302= 302= 302= 302 302="},
            {"email": "new@example.com", "password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}),
    Address("account_logout", "/accounts/logout/",
            {"GET": "200 200 200 200 200 200 200 302 200", "POST": "302 302 302 302 302 302 302 302= 302"}),
    Address("account_inactive", "/accounts/inactive/", {"GET": everybody(), "POST": everybody("405")}),
    # The portal's own page stands before it at the same address: accounts:addresses. This is to remove the only one.
    Address("account_email", "/accounts/email/", {"GET": signed_in(), "POST": AWAY_UNCHANGED},
            {"action_remove": "", "email": "{own_address}"}),
    Address("account_confirm_email", "/accounts/confirm-email/none/", {"GET": everybody(), "POST": everybody("404")}),
    Address("account_email_verification_sent", "/accounts/confirm-email/",
            {"GET": everybody(), "POST": everybody("405")}),
    Address("account_confirm_login_code", "/accounts/login/code/confirm/", {"GET": AWAY, "POST": AWAY_UNCHANGED},
            NOTHING_BEFORE),
    Address("account_reauthenticate", "/accounts/reauthenticate/", {"GET": signed_in(), "POST": signed_in("302")},
            {"password": PASSWORD}),
    Address("account_change_password", "/accounts/password/change/", {"GET": signed_in(), "POST": signed_in("302")},
            {"oldpassword": PASSWORD, "password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}),
    Address("account_change_password", "/accounts/password/change/", {"POST": signed_in("200=")},
            {"oldpassword": OTHER_PASSWORD, "password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}),
    # Everybody here has a password.
    Address("account_set_password", "/accounts/password/set/", {"GET": AWAY, "POST": AWAY_UNCHANGED},
            {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}),
    Address("account_reset_password", "/accounts/password/reset/", {"GET": everybody(), "POST": everybody("302=")},
            {"email": "nobody@example.com"}),
    Address("account_reset_password_done", "/accounts/password/reset/done/",
            {"GET": everybody(), "POST": everybody("405")}),
    Address("account_reset_password_from_key", "/accounts/password/reset/key/1-none/",
            {"GET": everybody(), "POST": everybody("200=")},
            {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}),
    Address("account_reset_password_from_key_done", "/accounts/password/reset/key/done/",
            {"GET": everybody(), "POST": everybody("405")}),
    # The portal's own page stands before it at the same address: accounts:sessions.
    Address("usersessions_list", "/accounts/sessions/",
            {"GET": signed_in(), "POST": "302 302= 302= 302= 302= 302= 302= in 302="}),
    Address("socialaccount_signup", "/accounts/3rdparty/signup/", {"GET": everybody("in"), "POST": everybody("in")},
            {"email": "new@example.com"}),
    # There is no account of another site to part from.
    Address("socialaccount_connections", "/accounts/3rdparty/", {"GET": signed_in(), "POST": signed_in("200=")},
            {"account": "{socialaccount_socialaccount}"}),
    Address("socialaccount_login_cancelled", "/accounts/3rdparty/login/cancelled/",
            {"GET": everybody(), "POST": everybody("405")}),
    Address("socialaccount_login_error", "/accounts/3rdparty/login/error/",
            {"GET": everybody("401"), "POST": everybody("405")}),
    # Where these pages were in earlier releases of allauth.
    *(Address(path, path, {"GET": everybody("301"), "POST": everybody("301=")})
      for path in ("/accounts/social/login/cancelled/", "/accounts/social/login/error/", "/accounts/social/signup/",
                   "/accounts/social/connections/")),
    # Nothing is set up here to sign in with.
    *(Address(name, path, {"GET": everybody("404"), "POST": everybody("404")})
      for name, path in {
          "github_login": "/accounts/github/login/",
          "github_callback": "/accounts/github/login/callback/",
          "google_login": "/accounts/google/login/",
          "google_callback": "/accounts/google/login/callback/",
          "google_login_by_token": "/accounts/google/login/token/",
          "openid_connect_login": "/accounts/oidc/oidc/login/",
          "openid_connect_callback": "/accounts/oidc/oidc/login/callback/",
      }.items()),
    Address("mfa_index", "/accounts/2fa/", {"GET": signed_in(), "POST": signed_in("405")}),
    Address("mfa_authenticate", "/accounts/2fa/authenticate/", {"GET": AWAY, "POST": AWAY_UNCHANGED}, NOTHING_BEFORE),
    Address("mfa_reauthenticate", "/accounts/2fa/reauthenticate/",
            {"GET": "200 302 302 302 302 302 302 in 302", "POST": "200= 302= 302= 302= 302= 302= 302= in 302="},
            {"code": "123456"}),
    # What is refused is asked anew: that is kept in the session.
    Address("mfa_activate_totp", "/accounts/2fa/totp/activate/",
            {"GET": "302 200 200 200 200 200 200 in 200", "POST": "302= 200 200 200 200 200 200 in 200"},
            {"code": "none"}),
    Address("mfa_deactivate_totp", "/accounts/2fa/totp/deactivate/",
            {"GET": WITH_A_FACTOR, "POST": "302 404 404 404 404 404 404 in 404"}),
    Address("mfa_list_webauthn", "/accounts/2fa/webauthn/", {"GET": signed_in(), "POST": signed_in("405")}),
    Address("mfa_add_webauthn", "/accounts/2fa/webauthn/add/", {"GET": signed_in(), "POST": signed_in()},
            {"name": "Key", "credential": "none"}),
    # Somebody else's, which is nobody's here to rename or remove.
    Address("mfa_edit_webauthn", "/accounts/2fa/webauthn/keys/{security_key}/edit/",
            {"GET": signed_in("404"), "POST": signed_in("404")}, {"name": "Renamed"}),
    Address("mfa_remove_webauthn", "/accounts/2fa/webauthn/keys/{security_key}/remove/",
            {"GET": signed_in("404"), "POST": signed_in("404")}),
    Address("mfa_login_webauthn", "/accounts/2fa/webauthn/login/", {"GET": AWAY, "POST": AWAY_UNCHANGED},
            {"credential": "none"}),
    Address("mfa_reauthenticate_webauthn", "/accounts/2fa/webauthn/reauthenticate/",
            {"GET": AWAY, "POST": AWAY_UNCHANGED}, {"credential": "none"}),
    Address("mfa_generate_recovery_codes", "/accounts/2fa/recovery-codes/generate/",
            {"GET": signed_in(), "POST": "302 200= 200= 200= 200= 200= 200= in 200="}),
    Address("mfa_view_recovery_codes", "/accounts/2fa/recovery-codes/",
            {"GET": signed_in("404"), "POST": signed_in("405")}),
    Address("mfa_download_recovery_codes", "/accounts/2fa/recovery-codes/download/",
            {"GET": signed_in("404"), "POST": signed_in("404")}),
]  # fmt: skip
