"""Django's admin: every page of every model in it, by what staff may do with its rows beside looking at them."""

from tests.permissions.answers import Address, staff_of_the_admin

EVIDENCE = ""
"""Nobody edits what is a record, or what people do on pages that tell others of it."""

MODELS = {
    "account.emailaddress": "add change delete",
    "accounts.accounterasure": EVIDENCE,
    "accounts.accountexport": EVIDENCE,
    "accounts.auditevent": EVIDENCE,
    "accounts.auditorigin": EVIDENCE,
    "accounts.auditperson": EVIDENCE,
    "accounts.auditseal": EVIDENCE,
    "accounts.cohort": EVIDENCE,
    "accounts.invitation": EVIDENCE,
    "accounts.joinlink": EVIDENCE,
    "accounts.keptmail": "change=302 delete",
    "accounts.organization": "add change delete=403",
    "accounts.plan": EVIDENCE,
    "accounts.planchange": EVIDENCE,
    "accounts.project": "change delete=403",
    "accounts.removal": EVIDENCE,
    "accounts.secondfactor": "delete",
    "accounts.serviceaccount": "change delete",
    "accounts.termsacceptance": EVIDENCE,
    "accounts.termsversion": EVIDENCE,
    "accounts.user": "add change delete",
    "apikeys.apikey": EVIDENCE,
    "apikeys.keypolicy": EVIDENCE,
    "apikeys.keysecret": EVIDENCE,
    "auth.group": "add change delete",
    "catalog.backend": "change=302 delete",
    "catalog.deployment": "change delete",
    "catalog.hostedmodel": "change delete",
    "catalog.modelprice": EVIDENCE,
    "community.flag": EVIDENCE,
    "community.moderationact": EVIDENCE,
    "community.post": EVIDENCE,
    "community.tag": "add change delete",
    "community.vote": EVIDENCE,
    "forum.answer": EVIDENCE,
    "forum.comment": EVIDENCE,
    "forum.question": EVIDENCE,
    "notifications.mailpreference": "add change delete",
    "notifications.notification": "delete",
    "playground.run": "delete",
    "search.searchdocument": "change=302 delete",
    "socialaccount.socialaccount": "add change delete",
    "socialaccount.socialapp": "add change delete",
    "socialaccount.socialtoken": "add change delete",
    "usage.budgetalert": EVIDENCE,
    "usage.creditdraw": EVIDENCE,
    "usage.creditgrant": "add",
    "usage.creditrevocation": "add",
    "usage.sizeonday": EVIDENCE,
    "usage.usageevent": EVIDENCE,
    "usage.usagerollup15min": EVIDENCE,
    "usage.usageinstallationhour": EVIDENCE,
    "usage.usagekeyday": EVIDENCE,
    "usage.usageorganizationday": EVIDENCE,
    "usage.usageprojecthour": EVIDENCE,
    "usage.usagerollup5min": EVIDENCE,
    "usersessions.usersession": "add change delete",
    "webhooks.delivery": EVIDENCE,
    "webhooks.endpoint": "change=302 delete=403",
    "webhooks.message": EVIDENCE,
}
"""What staff may do, and what the form answers to that where it is not the usual: one that is sent empty is shown again
unless nothing in it is required; what holds a record that stays is not deleted."""


def _pages(model: str, rights: str) -> list[Address]:
    name, base = "admin:" + model.replace(".", "_"), f"/admin/{model.replace('.', '/')}/"
    row = base + "{" + model.replace(".", "_") + "}"
    answers = {"add": "200=", "change": "200=", "delete": "302"}
    may = {right: answer or answers[right] for right, _, answer in (part.partition("=") for part in rights.split())}
    seen = {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("200=")}

    def form(right: str) -> dict[str, str]:
        return {
            "GET": staff_of_the_admin("200" if right in may else "403"),
            "POST": staff_of_the_admin(may.get(right, "403")),
        }

    return [
        Address(f"{name}_changelist", base, seen),
        Address(f"{name}_add", f"{base}add/", form("add")),
        # To look at one it is the same address.
        Address(f"{name}_change", f"{row}/change/", {**form("change"), "GET": staff_of_the_admin()}),
        Address(f"{name}_delete", f"{row}/delete/", form("delete"), {"post": "yes"}),
        Address(f"{name}_history", f"{row}/history/", seen),
        Address(f"{base}<path:object_id>/", f"{row}/",
                {"GET": staff_of_the_admin("302"), "POST": staff_of_the_admin("302=")}),
    ]  # fmt: skip


ROWS = [
    Address("admin:index", "/admin/", {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("200=")}),
    # Of those who are signed in, staff go on and nobody else learns more.
    Address("admin:login", "/admin/login/",
            {"GET": "403 403 403 403 403 403 403 in 302", "POST": "403 403 403 403 403 403 403 in 200="}),
    Address("admin:logout", "/admin/logout/",
            {"GET": "302 302 302 302 302 302 302 302 405", "POST": "302= 302= 302= 302= 302= 302= 302= 302= 200"}),
    # Its own page for a new password, which asks for the old one.
    Address("admin:password_change", "/admin/password_change/",
            {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("200=")}),
    Address("admin:password_change_done", "/admin/password_change/done/",
            {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("405")}),
    Address("admin:autocomplete",
            "/admin/autocomplete/?app_label=notifications&model_name=mailpreference&field_name=user",
            {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("405")}),
    Address("admin:jsi18n", "/admin/jsi18n/", {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("405")}),
    # Nothing here has a page of its own that the admin knows of.
    Address("admin:view_on_site", "/admin/r/1/1/",
            {"GET": staff_of_the_admin("404"), "POST": staff_of_the_admin("404")}),
    Address("admin:app_list", "/admin/accounts/", {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("200=")}),
    Address("admin:auth_user_password_change", "/admin/accounts/user/{accounts_user}/password/",
            {"GET": staff_of_the_admin(), "POST": staff_of_the_admin("200=")}),
    Address("/admin/(?P<url>.*)$", "/admin/nothing/",
            {"GET": staff_of_the_admin("404"), "POST": staff_of_the_admin("404")}),
    *(page for model, rights in MODELS.items() for page in _pages(model, rights)),
]  # fmt: skip
