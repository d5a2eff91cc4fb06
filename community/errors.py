"""Why something a person asked for was not done, in words for that person."""

from collections.abc import Sequence

from apikeys.models import ApiKey


class RefusedError(Exception):
    """The rules do not allow it. `str(error)` is the reason, translated, for showing."""


class KeyShownError(RefusedError):
    """The text shows a key that works. `revocable` are the keys in it that the author may revoke."""

    def __init__(self, reason: str, *, revocable: Sequence[ApiKey]) -> None:
        super().__init__(reason)
        self.revocable = revocable
