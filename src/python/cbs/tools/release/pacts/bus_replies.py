"""What many conversations have alike: to be refused, and to ask for the facts that one missed."""

from collections.abc import Awaitable
from typing import Any

from pact import match

from cbs.kernel.refusal import Refusal
from cbs.platform.bus import Bus
from cbs.platform.consumer import FactsAfter, FactsPage
from cbs.tools.release.pacts.conversation import Conversation, State, some_of


def said(because: str, code: Any) -> dict[str, Any]:
    """A refusal as it travels: why and which are fixed, its words are not."""
    return {"because": because, "code": code, "title": match.type("The words for people.")}


async def is_refused(code: str, asked: Awaitable[object]) -> None:
    """The client says no to its caller as the provider said it."""
    refused = ""
    try:
        await asked
    except Refusal as refusal:
        refused = refusal.code
    assert refused == code, (refused, code)


def hears_by_request(source: Conversation) -> None:
    """What the broker did not bring is fetched, page by page."""

    async def ask(bus: Bus) -> None:
        asked = FactsAfter(position=0)
        page = await bus.call(f"{source.provider}.facts", asked, FactsPage, own=True)
        assert page.head >= len(page.bodies) > 0

    source.asks(
        "the facts after a position",
        ask,
        data={"head": match.int(7), "bodies": some_of(match.type('{"specversion":"1.0"}'))},
        given=[State("permission-refused happened")],
    )
