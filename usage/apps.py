from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from accounts.models import Organization, Project, User
    from common.limits import Limited


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = _("Usage")

    def ready(self) -> None:
        from django.conf import settings
        from django.db.models.signals import pre_delete

        from accounts import holdings
        from accounts.auditing import actions
        from accounts.signals import (
            limits_changed,
            project_changed,
            rights_changed,
            terms_changed,
            time_zone_changing,
        )
        from apikeys.signals import key_changed
        from notifications import registry as notices
        from search import registry as search
        from usage.days import refuse_to_begin_anew
        from usage.holding import HOLDING
        from usage.kinds import ACTIONS, BUDGET_ALERT, BUDGET_REACHED, CREDITS_ALERT, KINDS
        from usage.log import page_of_call_in
        from webhooks import registry

        holdings.register(HOLDING)
        actions.register(ACTIONS)
        registry.register(BUDGET_REACHED)
        registry.register(BUDGET_ALERT)
        registry.register(CREDITS_ALERT)
        search.register_jump(page_of_call_in)
        for kind in KINDS:
            notices.register(kind)
        key_changed.connect(forget_policies, dispatch_uid="forget_policies")
        rights_changed.connect(forget_policies_of_person, dispatch_uid="forget_policies_of_person")
        project_changed.connect(forget_policies_of_project, dispatch_uid="forget_policies_of_project")
        limits_changed.connect(hold_to_limits, dispatch_uid="hold_to_limits")
        time_zone_changing.connect(refuse_to_begin_anew, dispatch_uid="refuse_to_begin_anew")
        pre_delete.connect(
            forget_policies_of_deleted, sender=settings.AUTH_USER_MODEL, dispatch_uid="forget_policies_of_deleted"
        )
        terms_changed.connect(look_again, dispatch_uid="usage.look_again")


def forget_policies(*, digests: list[str], **_signal: Any) -> None:
    """Every process checks keys that were made, changed or revoked anew."""
    from usage.policies import forget

    forget(digests)


def forget_policies_of_person(*, user: "User", organization: "Organization | None", **_signal: Any) -> None:
    """Keys that somebody made rest on what that person may do."""
    from apikeys.models import KeySecret

    secrets = KeySecret.objects.filter(key__created_by=user)
    _forget_after_commit(secrets.filter(key__project__organization=organization) if organization else secrets)


def forget_policies_of_deleted(*, instance: "User", **_signal: Any) -> None:
    """The keys of somebody deleted stop: they stay in their project, with nobody to rest on."""
    from django.db import transaction

    from apikeys.models import KeySecret

    # Read now: afterwards nothing tells whose they were.
    digests = list(KeySecret.objects.filter(key__created_by=instance).values_list("digest", flat=True))
    transaction.on_commit(partial(forget_policies, digests=digests), robust=True)


def forget_policies_of_project(*, project: "Project", **_signal: Any) -> None:
    """No key of a project works once it is archived, or has ended."""
    from apikeys.models import KeySecret

    _forget_after_commit(KeySecret.objects.filter(key__project=project))


def hold_to_limits(*, limited: "Limited", **_signal: Any) -> None:
    """Calls are held to limits as they are now."""
    from django.db import transaction

    from usage.counters import count_anew
    from usage.policies import forget_held_to

    # Told first: who still knows the old limits would not count, or would begin counters that nobody needs.
    transaction.on_commit(partial(forget_held_to, limited), robust=True)
    transaction.on_commit(partial(count_anew, limited), robust=True)


def _forget_after_commit(secrets: Any) -> None:
    from django.db import transaction

    # Told earlier, a gateway could read the old state back into its cache.
    transaction.on_commit(lambda: forget_policies(digests=list(secrets.values_list("digest", flat=True))), robust=True)


def look_again(*, user: Any, **_signal: Any) -> None:
    """Keys that waited for somebody to accept the terms work at once.

    After terms are published each key is looked at by itself, as soon as its policy is next confirmed.
    """
    from django.db.transaction import on_commit

    from usage.policies import forget_keys_of

    if user is not None:
        on_commit(partial(forget_keys_of, user), robust=True)
