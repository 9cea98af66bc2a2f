"""A token is checked wherever it arrives; what is known of it is kept until it expires."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import msgspec

from cbs.kernel.principal import Kind, Principal
from cbs.kernel.refusal import NotSignedIn

ISSUER = AUDIENCE = "cbs"
ALGORITHM = "EdDSA"
REMEMBERED_TOKENS_MAX = 10_000
TOKEN_CHARACTERS_MAX = 8_192
LEEWAY_SECONDS = 5


class Claims(msgspec.Struct, kw_only=True):
    sub: str
    kind: Kind
    permissions: list[str]
    exp: int


@dataclass(slots=True)
class Tokens:
    """Verifies EdDSA tokens (RFC 8037) against a JWKS; a file, so that keys can be rotated."""

    keys: dict[str, jwt.PyJWK]
    _seen: OrderedDict[str, tuple[Principal, int]] = field(default_factory=OrderedDict)

    @classmethod
    def of_file(cls, jwks: Path) -> "Tokens":
        keys = jwt.PyJWKSet.from_json(jwks.read_text()).keys
        return cls(keys={key.key_id: key for key in keys if key.key_id})

    def principal(self, token: str) -> Principal:
        """Who the token speaks for; raises NotSignedIn."""
        known = self._seen.get(token)
        if known is None:
            known = self._verified(token)
            self._seen[token] = known
            if len(self._seen) > REMEMBERED_TOKENS_MAX:
                self._seen.popitem(last=False)
        principal, expires = known
        if expires + LEEWAY_SECONDS < time.time():
            del self._seen[token]
            raise NotSignedIn("the token has expired")
        return principal

    def _verified(self, token: str) -> tuple[Principal, int]:
        if not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise NotSignedIn
        try:
            key = self.keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise NotSignedIn("the token is signed with a key that this bank does not know")
            claims = msgspec.convert(
                jwt.decode(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    audience=AUDIENCE,
                    issuer=ISSUER,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["sub", "exp", "iss", "aud"]},
                ),
                Claims,
            )
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("the token has expired") from None
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError) as error:
            raise NotSignedIn(f"the token is not valid: {type(error).__name__}") from None
        return (
            Principal(id=claims.sub, kind=claims.kind, permissions=frozenset(claims.permissions)),
            claims.exp,
        )


def bearer(header: str | None) -> str:
    """The token of an `Authorization` header; empty if there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
