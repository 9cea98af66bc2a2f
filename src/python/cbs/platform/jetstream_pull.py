"""A page of a stream is taken in one turn of the event loop, however many messages it has.

nats-py's own `fetch` makes two tasks for each message and waits for them in turn. Where the loop is
busy with requests that is seconds a page, and the listener falls behind the traffic.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import FetchTimeoutError

NANOSECONDS = 1_000_000_000
STATUS = "Status"


@dataclass(slots=True, kw_only=True)
class Pull:
    """Takes what a durable pull consumer has; one `fetch` at a time.

    A request stands at the server until it is used up or expires: `_due` messages may still come.
    """

    client: Client
    subject: str
    _inbox: str = ""
    _subscription: Subscription | None = None
    _received: list[Msg] = field(default_factory=list)
    _due: int = 0
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def of(cls, client: Client, *, stream: str, consumer: str, page_max: int) -> "Pull":
        pull = cls(client=client, subject=f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
        pull._inbox = client.new_inbox()
        # Two requests may overlap when an answer that one has expired comes late.
        pull._subscription = await client.subscribe(
            pull._inbox, cb=pull._take, pending_msgs_limit=4 * page_max
        )
        return pull

    async def _take(self, message: Msg) -> None:
        if message.headers and STATUS in message.headers and not message.data:
            self._due = 0  # expired, or nobody there who could answer it
        else:
            self._due -= 1
            self._received.append(message)
        self._woken.set()

    async def fetch(
        self,
        batch: int,
        *,
        timeout: float,  # noqa: ASYNC109 (as nats has it)
    ) -> list[Msg]:
        """What has arrived, or else arrives first; raises FetchTimeoutError when nothing does."""
        if not self._received:
            self._woken.clear()
            if self._due <= 0:
                self._due = batch
                asked = {"batch": batch, "expires": int(timeout * NANOSECONDS)}
                await self.client.publish(self.subject, msgspec.json.encode(asked), self._inbox)
            try:
                async with asyncio.timeout(timeout):
                    await self._woken.wait()
            except TimeoutError:
                self._due = 0  # whoever had the request may be gone
                raise FetchTimeoutError from None
        if not self._received:
            raise FetchTimeoutError
        page, self._received = self._received, []
        return page

    async def unsubscribe(self) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()
