"""What a service says on the bus and to whom is declared, so that its permissions can follow."""

from dataclasses import dataclass

FACTS = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """`serves` are verbs, `calls` are `<service>.<verb>`, `hears` services whose facts it reads.

    Every service also serves the verb `facts`, from which those who hear it catch up.
    """

    service: str
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The subjects that one NATS user may publish and subscribe to; everything else is refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(of: Connections) -> Permissions:
    stream = f"CBS_{of.service.upper()}"
    publish = [f"cbs.{call}" for call in of.calls]
    publish += [f"cbs.{heard}.{FACTS}" for heard in of.hears]
    publish.append(f"cbs.{of.service}.events.>")
    verbs = ("INFO", "CREATE", "UPDATE", "DELETE")
    publish += [f"$JS.API.STREAM.{verb}.{stream}" for verb in verbs]
    for heard in of.hears:
        publish += _consumer(f"CBS_{heard.upper()}", of.service)
    subscribe = [f"cbs.{of.service}.{verb}" for verb in (*of.serves, FACTS)]
    subscribe += ["$SRV.>", f"_INBOX_{of.service}.>"]
    return Permissions(
        publish=tuple(dict.fromkeys(publish)), subscribe=tuple(dict.fromkeys(subscribe))
    )


def _consumer(stream: str, durable: str) -> list[str]:
    return [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{durable}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{durable}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
    ]
