"""Tokens for tests, signed with a key that lives as long as the test session."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_ID = "test"


@dataclass(frozen=True)
class Signer:
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def jwks(self, folder: Path) -> Path:
        """The public key, in a file as a service wants it."""
        public = jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        file = folder / "jwks.json"
        file.write_text(json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "EdDSA"}]}))
        return file

    def token(
        self, subject: str, *permissions: str, kind: str = "user", seconds: int = 3600
    ) -> str:
        now = int(time.time())
        claims = {
            "iss": "cbs",
            "aud": "cbs",
            "sub": subject,
            "name": subject,
            "kind": kind,
            "permissions": list(permissions),
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers={"kid": KEY_ID})
