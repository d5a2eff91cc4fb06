"""How services say no to something that the rights allow and the state of things does not."""

from django.utils.functional import Promise


class RefusedError(Exception):
    """Says why, and what to do, in words for whoever asked; `code` is a word for programs that stays the same."""

    def __init__(self, words: str | Promise, *, code: str) -> None:
        super().__init__(words)
        self.words = words
        self.code = code

    def __str__(self) -> str:
        return str(self.words)
