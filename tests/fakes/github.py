"""GitHub as secret scanning knows it: it publishes public keys over real HTTP, and signs with the private ones."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.serving import serving


@dataclass
class GitHub:
    """Its keys by name, how often they were asked for, and what it answers instead when told so."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    asked: int = 0
    broken: bytes = b""

    def add_key(self, name: str) -> None:
        self.keys[name] = ec.generate_private_key(ec.SECP256R1())

    def signed(self, name: str, body: bytes) -> dict[str, str]:
        """The headers of a report."""
        signature = base64.b64encode(self.keys[name].sign(body, ec.ECDSA(SHA256()))).decode()
        return {"Github-Public-Key-Identifier": name, "Github-Public-Key-Signature": signature}

    def published(self) -> bytes:
        keys = [
            {
                "key_identifier": name,
                "key": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
                "is_current": True,
            }
            for name, key in self.keys.items()
        ]
        return json.dumps({"public_keys": keys}).encode()


@contextmanager
def github() -> Iterator[GitHub]:
    """GitHub on a free port of 127.0.0.1, with one key, `first`."""
    told = GitHub()
    told.add_key("first")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            body = told.broken or told.published()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as address:
        told.url = f"{address}/meta/public_keys/secret_scanning"
        yield told
