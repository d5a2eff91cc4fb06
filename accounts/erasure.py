"""Erasing an account: what a person can do ends at once, what is held about them is gone shortly after."""

from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from accounts import jobs
from accounts.audit import record
from accounts.holdings import Holding, holdings
from accounts.models import AccountErasure, Membership, Organization, User
from accounts.roles import Role
from accounts.signals import rights_changed
from common.hints import send_hint


class NotYetError(Exception):
    """Others would be left without what only this person can do. The text says what to do first."""


def left_without_owner(user: User) -> QuerySet[Organization]:
    """Organizations with other members in which the user is the only owner."""
    others = Membership.objects.filter(organization=OuterRef("pk")).exclude(user=user)
    return Organization.objects.filter(
        Exists(others),
        ~Exists(others.filter(role=Role.OWNER, user__is_active=True)),
        memberships__user=user,
        memberships__role=Role.OWNER,
    )


def check_may_go(user: User) -> None:
    """Raises NotYetError when something has to be handed over first."""
    names = list(left_without_owner(user).values_list("name", flat=True))
    if names:
        raise NotYetError(
            _(
                "You are the only owner of %(names)s, where others work too. Make one of them an owner or remove them, "
                "then come back."
            )
            % {"names": ", ".join(names)}
        )
    if user.is_staff and not User.objects.filter(is_staff=True, is_active=True).exclude(pk=user.pk).exists():
        raise NotYetError(
            _("You are the only staff account of this portal. Make somebody else staff in the admin, then come back.")
        )


@transaction.atomic
def request_erasure(*, user: User) -> AccountErasure:
    """Erase an account. Sessions and keys are dead when this returns and commits; a task does the rest.

    Raises NotYetError when others depend on the account.
    """
    # Of two owners who go at once, or one who leaves meanwhile, the second sees what the first has done.
    list(Organization.objects.select_for_update().filter(memberships__user=user).order_by("pk"))
    User.objects.select_for_update().get(pk=user.pk)
    check_may_go(user)
    record("account.erasure_requested", by=user, target=user)
    erasure, _made = AccountErasure.objects.get_or_create(user=user, defaults={"total": len(holdings())})
    for holding in holdings():
        if holding.cut_off is not None:
            holding.cut_off(user)
    rights_changed.send(sender=User, user=user, organization=None)
    transaction.on_commit(partial(_hint, erasure.public_id))
    return erasure


def erase_account(*, erasure: AccountErasure) -> None:
    """Do what was requested. Safe to run twice and at once: a step that was done finds nothing left to do.

    What was promised is never given up, however often it fails.
    """
    jobs.work(erasure, [partial(_erase, holding, erasure.user) for holding in holdings()], gives_up=False)


@transaction.atomic
def _erase(holding: Holding, user: User) -> None:
    holding.erase(user)


def _hint(erasure_id: str) -> None:
    from accounts.tasks import erase_account as task  # tasks import this module

    send_hint(partial(task.delay, erasure_id), about=erasure_id)
