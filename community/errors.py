"""Why something a person asked for was not done, in words for that person."""


class RefusedError(Exception):
    """The rules do not allow it. `str(error)` is the reason, translated, for showing."""
