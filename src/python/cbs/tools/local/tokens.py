"""The local bank signs its own tokens: one key, one token a service, one for each kind of user."""

import base64
import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.bank import SERVICES
from cbs.platform.auth import ALGORITHM, AUDIENCE, ISSUER
from cbs.platform.declaration import INTERNAL, OF_EVERY_SERVICE, declaration_of

DAYS_VALID = 365
DAYS_LEFT_MIN = 180
DAY_SECONDS = 86_400

# What is at a teller's counter is a choice.
TELLER = (
    "customers.read",
    "customers.write",
    "customers.verify",
    "accounts.read",
    "accounts.write",
    "payments.read",
    "payments.cash",
    "payments.transfer",
)
IMPORT = ".import"
SERVICE = (INTERNAL,)


def users() -> dict[str, tuple[str, ...]]:
    """Kind of user -> permissions. An importer may do all that any service permits, an operator all
    but import."""
    of_services = (permission for each in SERVICES for permission in declaration_of(each).permits)
    every = (*of_services, *OF_EVERY_SERVICE.permits)
    operator = tuple(each for each in every if not each.endswith(IMPORT))
    return {"teller": TELLER, "operator": operator, "importer": every}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key (RFC 8037), kept as the hexadecimal of its private half."""

    private: Ed25519PrivateKey

    @classmethod
    def of_text(cls, text: str) -> "SigningKey":
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text)))

    @property
    def jwk(self) -> dict[str, str]:
        x = base64.urlsafe_b64encode(self.private.public_key().public_bytes_raw())
        return {"crv": "Ed25519", "kty": "OKP", "x": x.decode().rstrip("=")}

    @property
    def id(self) -> str:
        """The key's thumbprint (RFC 7638)."""
        canonical = json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")

    @property
    def jwks(self) -> str:
        """The public half, for those who check."""
        key = self.jwk | {"kid": self.id, "alg": ALGORITHM, "use": "sig"}
        return json.dumps({"keys": [key]}, indent=1) + "\n"

    def token(self, *, name: str, kind: str, permissions: Iterable[str], at: int) -> str:
        """A token valid for DAYS_VALID from `at`, in seconds since 1970."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": name,
            "name": name,
            "kind": kind,
            "permissions": sorted(permissions),
            "iat": at,
            "exp": at + DAYS_VALID * DAY_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.private, algorithm=ALGORITHM, headers={"kid": self.id})


def is_worn(token: str, *, key: SigningKey, permissions: Iterable[str], at: int) -> bool:
    """Whether to make a new one: signed by another key, other permissions, or soon to expire."""
    try:
        claims = jwt.decode(
            token,
            key.private.public_key(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"verify_exp": False},
        )
    except jwt.PyJWTError:
        return True
    ends: int = claims["exp"]
    return claims["permissions"] != sorted(permissions) or ends < at + DAYS_LEFT_MIN * DAY_SECONDS
