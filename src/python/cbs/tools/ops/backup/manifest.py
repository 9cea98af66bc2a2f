"""A backup says what it is in one file, written last: a folder without it is no backup."""

import hashlib
import hmac
from datetime import datetime
from pathlib import Path

import msgspec

from cbs.tools.local.folder import write_whole

FILE, DATA, SECRETS = "manifest.json", "data", "secrets"
LAYOUT = 1
SEGMENT_BYTES = 16 << 20
SEGMENTS_OF_A_LOG = (1 << 32) // SEGMENT_BYTES


class NotABackup(RuntimeError):
    """The path does not lead to a backup, or not to a finished one."""


class Damaged(RuntimeError):
    """The backup is not as it was made: nothing is restored from it."""


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """`facts` (service -> head of its outbox) and `owed_minor` (currency -> what customers have)
    were read just before the copy began: what is restored has at least these facts.

    `wal` names the folder of the archive that goes on from this backup, `first_segment` the first
    that is needed. `vault_key` recognises the key without which customers cannot be read.
    """

    layout: int
    name: str
    bank: str
    began_at: datetime
    ended_at: datetime
    postgres: str
    system: str
    wal: str
    first_segment: str
    last_segment: str
    bytes: int
    facts: dict[str, int]
    owed_minor: dict[str, int]
    with_secrets: bool
    vault_key: str
    files_sha256: str
    checksum: str = ""

    @property
    def sealed(self) -> "Manifest":
        """With a checksum over all the rest."""
        plain = msgspec.json.encode(msgspec.structs.replace(self, checksum=""))
        return msgspec.structs.replace(self, checksum=hashlib.sha256(plain).hexdigest())


def write(backup: Path, manifest: Manifest) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest.sealed), indent=1)
    write_whole(backup / FILE, text.decode() + "\n")


def read(backup: Path) -> Manifest:
    """Raises NotABackup, and Damaged if a byte of it or of PostgreSQL's list of files changed."""
    try:
        text = (backup / FILE).read_bytes()
    except OSError:
        raise NotABackup(
            f"{backup} holds no backup: name a folder that ./cbs backup made, or one in it"
        ) from None
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"{backup / FILE} is damaged ({error}): use another backup") from None
    if manifest != manifest.sealed or manifest.layout != LAYOUT:
        raise Damaged(f"{backup / FILE} is not as it was written: use another backup")
    try:
        listed = hashlib.sha256((backup / DATA / "backup_manifest").read_bytes()).hexdigest()
    except OSError:
        listed = ""
    if listed != manifest.files_sha256:
        raise Damaged(f"{backup / DATA}/backup_manifest is damaged: use another backup")
    return manifest


def key_fingerprint(key: str) -> str:
    """What tells a key from another and does not help to find it."""
    return hmac.digest(key.strip().encode(), b"cbs backup", "sha256").hex()


def segment_after(name: str) -> str:
    """The segment that follows on the same timeline."""
    timeline, log, number = name[:8], int(name[8:16], 16), int(name[16:], 16)
    place = log * SEGMENTS_OF_A_LOG + number + 1
    return f"{timeline}{place // SEGMENTS_OF_A_LOG:08X}{place % SEGMENTS_OF_A_LOG:08X}"


def segment_of(timeline: int, lsn: str) -> str:
    """The segment that holds what was written just before this place."""
    high, _, low = lsn.partition("/")
    place = ((int(high, 16) << 32) + int(low, 16) - 1) // SEGMENT_BYTES
    return f"{timeline:08X}{place // SEGMENTS_OF_A_LOG:08X}{place % SEGMENTS_OF_A_LOG:08X}"
