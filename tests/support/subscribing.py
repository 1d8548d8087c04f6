"""When the server knows what a client listens to."""

from nats.aio.client import Client


async def in_place(client: Client) -> None:
    """Return when the server has every subscription that the client has made.

    One `flush` does not say so: nats-py writes its PING ahead of what still waits to be sent, so
    the server may answer before it has read the subscription. By that answer the rest was written.
    """
    await client.flush()
    await client.flush()
