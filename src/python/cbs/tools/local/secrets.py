"""Secrets are made once, each in a file that only the bank's user can read, and never shown."""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.local import databases, nats_server, postgres
from cbs.tools.local.folder import DamagedFile, Folder, write_whole
from cbs.tools.local.tokens import SERVICE, SigningKey, is_worn, users

SCRAM_ITERATIONS = 4096
KEY = re.compile(r"[0-9a-fA-F]{64}\s*")
LOST = "next: put it back from a copy, or remove it, and ./cbs up makes a new one"
LOST_KEY = (
    "next: put it back from a copy; without it nobody can read the documents of the bank's"
    " customers, not even in a backup"
)


def make_all(folder: Folder) -> None:
    """Make what is missing; renew tokens that wear out. What exists is otherwise left alone.

    Raises DamagedFile of a secret that cannot be one.
    """
    for role in (postgres.ADMIN, databases.BACKUP, *databases.roles_of(SERVICES)):
        line = re.compile(rf"\*:\*:\*:{role}:[0-9a-f]{{48}}\n?")
        _once(pgpass(folder, role), partial(_pgpass_line, role), line.fullmatch)
    for user in (*SERVICES, nats_server.ADMIN):
        # Without a line end: the client takes the whole file for the seed.
        _once(nkey_seed(folder, user), new_nkey, _is_seed)
    signing = folder.secret("signing.key")
    if signing.exists() and not vault_key(folder).exists():
        raise DamagedFile(f"{vault_key(folder)} is missing\n{LOST_KEY}")
    for service in SERVICES:
        for file in keys_of(folder, service).values():
            _once(file, lambda: secrets.token_hex(32), KEY.fullmatch, LOST_KEY)
    _once(signing, lambda: Ed25519PrivateKey.generate().private_bytes_raw().hex(), KEY.fullmatch)
    key = SigningKey.of_text(signing.read_text())
    if _text(folder.jwks) != key.jwks:
        write_whole(folder.jwks, key.jwks)
    for name, permissions in users().items():
        _token(folder.token(name), key, name, "user", permissions)
    for service in SERVICES:
        _token(service_token(folder, service), key, service, "service", SERVICE)


def _is_seed(text: str) -> bool:
    try:
        return bool(public_nkey(text))
    except (nkeys.NkeysError, ValueError):
        return False


def new_nkey() -> str:
    """The seed of a new user of NATS: whoever has it is that user."""
    seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def public_nkey(seed: str) -> str:
    public: bytes = nkeys.from_seed(bytearray(seed.encode())).public_key
    return public.decode()


def pgpass(folder: Folder, role: str) -> Path:
    """The password file (libpq's PGPASSFILE) of one database role."""
    return folder.secret(f"{role}.pgpass")


def password(folder: Folder, role: str) -> str:
    return pgpass(folder, role).read_text().strip().rpartition(":")[2]


def nkey_seed(folder: Folder, user: str) -> Path:
    return folder.secret(f"{user}.nkey")


def service_token(folder: Folder, service: str) -> Path:
    return folder.secret(f"{service}.token")


def keys_of(folder: Folder, service: str) -> dict[str, Path]:
    """Name -> file of the keys that a service needs, and no other service may read."""
    return {name: folder.secret(f"{name}.key") for name in declaration_of(service).needs.keys}


def vault_key(folder: Folder) -> Path:
    """Without it customers cannot be read, and a backup is good for nothing."""
    return folder.secret("vault.key")


def files_of(folder: Folder, service: str, *, nkey: bool) -> dict[str, str]:
    """The environment that tells a service where its own secrets are, and nobody else's."""
    files = {
        "CBS_JWKS_FILE": str(folder.jwks),
        "CBS_SERVICE_TOKEN_FILE": str(service_token(folder, service)),
    }
    if nkey:
        files["CBS_NATS_NKEY_FILE"] = str(nkey_seed(folder, service))
    keys = keys_of(folder, service)
    return files | {f"CBS_{name.upper()}_KEY_FILE": str(file) for name, file in keys.items()}


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores of a password (RFC 5803), so that it need not be told the password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{base64.b64encode(salt).decode()}${stored}:{server}"


def _pgpass_line(role: str) -> str:
    return f"*:*:*:{role}:{secrets.token_hex(24)}\n"


def _once(
    path: Path, make: Callable[[], str], is_one: Callable[[str], object], lost: str = LOST
) -> None:
    if not path.exists():
        write_whole(path, make())
    path.chmod(0o600)
    if not is_one(_text(path)):
        raise DamagedFile(f"{path} is damaged\n{lost}")


def _text(path: Path) -> str:
    """Nothing where there is no file; what is no text is no secret of ours either."""
    with suppress(FileNotFoundError, UnicodeDecodeError):
        return path.read_text()
    return ""


def _token(path: Path, key: SigningKey, name: str, kind: str, permissions: tuple[str, ...]) -> None:
    now = int(time.time())
    token = _text(path).strip()
    if is_worn(token, key=key, permissions=permissions, at=now):
        token = key.token(name=name, kind=kind, permissions=permissions, at=now)
        write_whole(path, token)
    # For `curl -H @FILE`, so that no token need be on a command line.
    header, line = path.with_name(f"{path.name}.header"), f"Authorization: Bearer {token}\n"
    if _text(header) != line:
        write_whole(header, line)
    path.chmod(0o600)
