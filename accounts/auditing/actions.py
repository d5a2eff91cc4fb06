"""What each action of the audit log is called in words. Higher apps register theirs in `AppConfig.ready()`."""

from collections.abc import Collection, Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Words = str | Promise

_actions: dict[str, Words] = {}
_by_strangers: set[str] = set()


def register(actions: Mapping[str, Words], *, by_strangers: Collection[str] = ()) -> None:
    """`actions` says what somebody did, to be read after their name. %(target)s stands for what it was done to.

    Those in `by_strangers` can be done without signing in; what else nobody did, the portal did.
    """
    _actions.update(actions)
    _by_strangers.update(by_strangers)


def is_by_strangers(action: str) -> bool:
    return action in _by_strangers


def registered() -> Mapping[str, Words]:
    return _actions


def in_words(action: str, *, target: str) -> str:
    """What was done; an action that nobody registered is called by its code."""
    words = _actions.get(action)
    if words is None:
        return f"{action} {target}".strip()
    return str(words) % {"target": target}


def as_choice(action: str) -> str:
    """The action without a target, for choosing it from a list."""
    return in_words(action, target="…")


ACTIONS: dict[str, Words] = {
    "user.signed_up": _("signed up"),
    "user.signed_in": _("signed in"),
    "user.sign_in_failed": _("tried to sign in as %(target)s with a wrong password"),
    "user.unknown_sign_in_failed": _("tried to sign in with an unknown address"),
    "user.operator_made": _("became the first member of staff"),
    "user.suspended": _("suspended %(target)s"),
    "user.readmitted": _("readmitted %(target)s"),
    "user.signed_out": _("signed out"),
    "user.password_changed": _("changed their password"),
    "user.password_reset": _("set a new password by mail"),
    "user.email_added": _("added an e-mail address"),
    "user.email_changed": _("changed their main e-mail address"),
    "user.email_removed": _("removed an e-mail address"),
    "user.second_factor_added": _("added a second factor"),
    "user.second_factor_removed": _("removed a second factor"),
    "user.second_factor_renewed": _("made new recovery codes"),
    "user.social_account_connected": _("connected an account to sign in with"),
    "user.social_account_removed": _("disconnected an account to sign in with"),
    "second_factor.removed": _("removed a second factor of %(target)s"),
    "session.ended": _("ended one of their sessions"),
    "account.export_started": _("asked for a copy of their data"),
    "account.erasure_requested": _("had their account erased"),
    "terms.published": _("published the terms of use %(target)s"),
    "terms.accepted": _("accepted the terms of use %(target)s"),
    "organization.created": _("created the organization %(target)s"),
    "organization.renamed": _("renamed the organization to %(target)s"),
    "organization.limits_changed": _("changed the limits of the organization %(target)s"),
    "organization.plan_changed": _("put the organization %(target)s on another plan"),
    "organization.second_factor_changed": _("changed whether members of %(target)s need a second factor"),
    "member.joined": _("joined the organization"),
    "member.gained": _("gained more access in the organization"),
    "member.role_changed": _("changed the role of %(target)s"),
    "member.limits_changed": _("changed the limits of %(target)s in the organization"),
    "member.removed": _("removed %(target)s from the organization"),
    "member.left": _("left the organization"),
    "invitation.created": _("sent the invitation %(target)s"),
    "invitation.resent": _("sent the invitation %(target)s again"),
    "invitation.revoked": _("took back the invitation %(target)s"),
    "join_link.created": _("created the join link %(target)s"),
    "join_link.switched_off": _("switched off the join link %(target)s"),
    "join_link.switched_on": _("switched on the join link %(target)s"),
    "cohort.created": _("created the cohort %(target)s"),
    "cohort.changed": _("changed the cohort %(target)s"),
    "plan.created": _("made the plan %(target)s"),
    "plan.changed": _("changed the plan %(target)s"),
    "project.created": _("created the project %(target)s"),
    "project.changed": _("changed the project %(target)s"),
    "project.limits_changed": _("changed the limits of the project %(target)s"),
    "project.archived": _("archived the project %(target)s"),
    "project.restored": _("restored the project %(target)s"),
    "project.member_changed": _("changed the place of %(target)s in a project"),
    "service_account.created": _("created the service account %(target)s"),
    "service_account.changed": _("changed the service account %(target)s"),
    "service_account.removed": _("removed the service account %(target)s"),
    "admin.added": _("added %(target)s in the admin"),
    "admin.changed": _("changed %(target)s in the admin"),
    "admin.deleted": _("deleted %(target)s in the admin"),
}
BY_STRANGERS = {"user.sign_in_failed", "user.unknown_sign_in_failed"}
