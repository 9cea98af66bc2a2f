"""What a client of NATS has said has arrived."""

from nats.aio.client import Client


async def flushed(client: Client) -> None:
    """Returns when the server has had all that the client wrote.

    The PING of a flush goes ahead of what is still to be written (nats-py 2.16); a second one's
    does not.
    """
    for _ in range(2):
        await client.flush()
