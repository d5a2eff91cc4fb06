"""Secrets in links that we hand out, and what is kept of them."""

import hashlib
import secrets


def new_token() -> str:
    """43 characters that nobody guesses, fit for an address."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so that a plain hash keeps it safe."""
    return hashlib.sha256(token.encode()).hexdigest()
