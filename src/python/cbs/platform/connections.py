"""What a service says on the bus and to whom is declared, so that its permissions can follow.

Beside `cbs.ledger.post` every instance answers `cbs.ledger.post.again` and, where it knows its
version, `cbs.ledger.post.on.<sha>`. While a release is under way NATS maps the first onto the last
by weight, and `.again` onto the version that is known to be good
(docs/decisions/0011-a-canary-has-a-weight-on-the-bus.md).
"""

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


def subjects_of(subject: str, sha: str) -> list[str]:
    """Where an instance answers what is asked at `subject`; the sha may be unknown."""
    return [subject, again(subject), *([f"{subject}.on.{sha}"] if sha else [])]


def again(subject: str) -> str:
    return f"{subject}.again"


def onto(subject: str) -> str:
    """The subjects of all versions; who may ask may ask each, for NATS permits after it maps."""
    return f"{subject}.on.*"


def permissions(of: Connections) -> Permissions:
    stream = f"CBS_{of.service.upper()}"
    asked = [f"cbs.{call}" for call in of.calls]
    asked += [f"cbs.{heard}.{FACTS}" for heard in of.hears]
    publish = [way for subject in asked for way in (subject, again(subject), onto(subject))]
    publish.append(f"cbs.{of.service}.events.>")
    verbs = ("INFO", "CREATE", "UPDATE", "DELETE")
    publish += [f"$JS.API.STREAM.{verb}.{stream}" for verb in verbs]
    for heard in of.hears:
        publish += _consumer(f"CBS_{heard.upper()}", of.service)
    answered = [f"cbs.{of.service}.{verb}" for verb in (*of.serves, FACTS)]
    subscribe = [way for subject in answered for way in (subject, again(subject), onto(subject))]
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
