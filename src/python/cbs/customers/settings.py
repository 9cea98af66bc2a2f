from pathlib import Path

from cbs.platform.settings import Settings as PlatformSettings


class Settings(PlatformSettings, frozen=True, kw_only=True):
    """The vault's key is a file of 64 hexadecimal digits; who has it can read every number."""

    vault_key_file: Path
