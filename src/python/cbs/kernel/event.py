"""An event is a fact in the past tense, named by its class, about one thing."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Fields are what JSON can carry: ids, texts, dates, whole minor units.

    `about` names the field that holds the id of the thing the fact is about; `fact` is the class's
    name in kebab case, and the last part of the subject `cbs.<service>.events.<fact>`.
    """

    about: ClassVar[str]
    fact: ClassVar[str] = "event"

    def __init_subclass__(cls) -> None:
        cls.fact = "".join(f"-{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who made a fact and why: the actor, whom a service acts for, what it follows from."""

    actor: str
    on_behalf_of: str = ""
    correlation_id: str = ""
    causation_id: str = ""
