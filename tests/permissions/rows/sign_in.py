"""The addresses of Django and allauth: all are about whoever asks, and only looked at here."""

from tests.permissions.answers import Address, everybody, signed_in

AWAY = signed_in("302")
"""Of a step that somebody signed in has no business with, or that has none before it."""
ONLY_VISITORS = "302 302 302 302 302 302 302 200 302"
WITH_A_FACTOR = "200 404 404 404 404 404 404 in 404"
"""The owner alone has a second factor here."""

ROWS = [
    Address("set_language", "/i18n/setlang/", {"GET": everybody("302"), "POST": everybody("302=")},
            {"language": "zh-hans"}),
    Address("account_login", "/accounts/login/", {"GET": ONLY_VISITORS}),
    Address("account_signup", "/accounts/signup/", {"GET": ONLY_VISITORS}),
    Address("account_logout", "/accounts/logout/", {"GET": "200 200 200 200 200 200 200 302 200"}),
    Address("account_inactive", "/accounts/inactive/", {"GET": everybody()}),
    Address("account_email", "/accounts/email/", {"GET": signed_in()}),
    Address("account_confirm_email", "/accounts/confirm-email/none/", {"GET": everybody()}),
    Address("account_email_verification_sent", "/accounts/confirm-email/", {"GET": everybody()}),
    Address("account_confirm_login_code", "/accounts/login/code/confirm/", {"GET": AWAY}),
    Address("account_reauthenticate", "/accounts/reauthenticate/", {"GET": signed_in()}),
    Address("account_change_password", "/accounts/password/change/", {"GET": signed_in()}),
    Address("account_set_password", "/accounts/password/set/", {"GET": AWAY}),
    Address("account_reset_password", "/accounts/password/reset/", {"GET": everybody()}),
    Address("account_reset_password_done", "/accounts/password/reset/done/", {"GET": everybody()}),
    Address("account_reset_password_from_key", "/accounts/password/reset/key/1-none/", {"GET": everybody()}),
    Address("account_reset_password_from_key_done", "/accounts/password/reset/key/done/", {"GET": everybody()}),
    Address("usersessions_list", "/accounts/sessions/", {"GET": signed_in()}),
    Address("socialaccount_signup", "/accounts/3rdparty/signup/", {"GET": everybody("in")}),
    Address("socialaccount_connections", "/accounts/3rdparty/", {"GET": signed_in()}),
    Address("socialaccount_login_cancelled", "/accounts/3rdparty/login/cancelled/", {"GET": everybody()}),
    Address("socialaccount_login_error", "/accounts/3rdparty/login/error/", {"GET": everybody("401")}),
    # Nothing is set up here to sign in with.
    Address("github_login", "/accounts/github/login/", {"GET": everybody("404")}),
    Address("github_callback", "/accounts/github/login/callback/", {"GET": everybody("404")}),
    Address("google_login", "/accounts/google/login/", {"GET": everybody("404")}),
    Address("google_callback", "/accounts/google/login/callback/", {"GET": everybody("404")}),
    Address("google_login_by_token", "/accounts/google/login/token/", {"GET": everybody("404")}),
    Address("openid_connect_login", "/accounts/oidc/oidc/login/", {"GET": everybody("404")}),
    Address("openid_connect_callback", "/accounts/oidc/oidc/login/callback/", {"GET": everybody("404")}),
    Address("mfa_index", "/accounts/2fa/", {"GET": signed_in()}),
    Address("mfa_authenticate", "/accounts/2fa/authenticate/", {"GET": AWAY}),
    Address("mfa_reauthenticate", "/accounts/2fa/reauthenticate/", {"GET": "200 302 302 302 302 302 302 in 302"}),
    Address("mfa_activate_totp", "/accounts/2fa/totp/activate/", {"GET": "302 200 200 200 200 200 200 in 200"}),
    Address("mfa_deactivate_totp", "/accounts/2fa/totp/deactivate/", {"GET": WITH_A_FACTOR}),
    Address("mfa_list_webauthn", "/accounts/2fa/webauthn/", {"GET": signed_in()}),
    Address("mfa_add_webauthn", "/accounts/2fa/webauthn/add/", {"GET": signed_in()}),
    Address("mfa_edit_webauthn", "/accounts/2fa/webauthn/keys/1/edit/", {"GET": signed_in("404")}),
    Address("mfa_remove_webauthn", "/accounts/2fa/webauthn/keys/1/remove/", {"GET": signed_in("404")}),
    Address("mfa_login_webauthn", "/accounts/2fa/webauthn/login/", {"GET": AWAY}),
    Address("mfa_reauthenticate_webauthn", "/accounts/2fa/webauthn/reauthenticate/", {"GET": AWAY}),
    Address("mfa_generate_recovery_codes", "/accounts/2fa/recovery-codes/generate/", {"GET": signed_in()}),
    Address("mfa_view_recovery_codes", "/accounts/2fa/recovery-codes/", {"GET": signed_in("404")}),
    Address("mfa_download_recovery_codes", "/accounts/2fa/recovery-codes/download/", {"GET": signed_in("404")}),
]  # fmt: skip
