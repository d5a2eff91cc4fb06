"""What may not stand in a name that others read. Higher apps register what they know in `AppConfig.ready()`."""

from collections.abc import Callable

from accounts.models import User

_checks: list[Callable[[User, str], str]] = []


def register_check(check: Callable[[User, str], str]) -> None:
    """`check` says why the user may not be called so; nothing when they may."""
    _checks.append(check)


def objections(user: User, name: str) -> list[str]:
    """Why the user may not be called so, in words for them."""
    return [objection for check in _checks if (objection := check(user, name))]
