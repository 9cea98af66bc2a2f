"""What a service is to everybody else is declared in one place, its `service.py`: what others
need to know of it follows from that, its rights on the bus among it.

Beside `cbs.ledger.post` every instance answers `cbs.ledger.post.again` and, where it knows its
version, `cbs.ledger.post.on.<sha>`. While a release is under way NATS maps the first onto the last
by weight, and `.again` onto the version that is known to be good
(docs/decisions/0011-a-canary-has-a-weight-on-the-bus.md).
"""

from dataclasses import dataclass, field
from importlib import import_module

FACTS = "facts"
# The permission that services have, and nobody else.
INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one instance wants of its node, and the keys that only this service may read."""

    cpu_mhz: int = 100
    memory_mib: int = 200
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What callers may rely on: at most `slow_share` of all requests take over `slow_seconds`."""

    slow_seconds: float = 0.25
    slow_share: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """`serves` are verbs, `calls` are `<service>.<verb>`, `hears` services whose facts it reads.

    `publishes` names its facts, `keeps` its tables and `permits` the permissions that its own
    routes and verbs ask for. `entrance` is a path below `/v1/<service>` that asks for a token.
    What OF_EVERY_SERVICE says every service has beside that. One that is not built as it is
    declared does not start.
    """

    service: str
    entrance: str = ""
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    permits: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    objective: Objective = field(default_factory=Objective)

    @property
    def facts(self) -> frozenset[str]:
        """All that it may publish."""
        return frozenset((*self.publishes, *OF_EVERY_SERVICE.publishes))


# From the verb `facts` those who hear a service catch up.
OF_EVERY_SERVICE = Declaration(
    service="",
    serves=(FACTS,),
    publishes=("permission-refused", "request-answered"),
    keeps=("outbox_head", "outbox", "relay", "watermark", "dead_letter", "request", "migration"),
    permits=("operations.read", "operations.replay"),
)


def declaration_of(service: str) -> Declaration:
    """What stands in `cbs/<service>/service.py`."""
    declared = import_module(f"cbs.{service}.service").DECLARATION
    assert isinstance(declared, Declaration) and declared.service == service, declared
    return declared


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


def permissions(of: Declaration) -> Permissions:
    stream = f"CBS_{of.service.upper()}"
    asked = [f"cbs.{call}" for call in of.calls]
    asked += [f"cbs.{heard}.{FACTS}" for heard in of.hears]
    publish = [way for subject in asked for way in (subject, again(subject), onto(subject))]
    publish.append(f"cbs.{of.service}.events.>")
    verbs = ("INFO", "CREATE", "UPDATE", "DELETE")
    publish += [f"$JS.API.STREAM.{verb}.{stream}" for verb in verbs]
    for heard in of.hears:
        publish += _consumer(f"CBS_{heard.upper()}", of.service)
    answered = [f"cbs.{of.service}.{verb}" for verb in (*of.serves, *OF_EVERY_SERVICE.serves)]
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
