"""All pacts of this tree, written afresh: what was there before is not read."""

from collections.abc import Callable
from pathlib import Path

from cbs.tools.release.pacts import accounts, audit, cli, gateway, partner, payments
from cbs.tools.release.pacts.conversation import Conversation

CONSUMERS: dict[str, Callable[[], list[Conversation]]] = {
    "accounts": accounts.conversations,
    "audit": audit.conversations,
    "payments": payments.conversations,
    "cbs-cli": cli.conversations,
    "gateway": gateway.conversations,
    "partner": partner.conversations,
}


def written(folder: Path) -> list[Path]:
    """Every consumer's pacts as files in `folder`, which was empty or missing."""
    folder.mkdir(parents=True, exist_ok=True)
    assert not list(folder.iterdir()), f"{folder} is not empty"
    return sorted(
        conversation.write(folder) for make in CONSUMERS.values() for conversation in make()
    )
