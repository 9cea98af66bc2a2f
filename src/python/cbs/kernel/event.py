"""An event is a fact in the past tense, about one thing."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Fields are what JSON can carry: ids, texts, dates, whole minor units.

    `about` names the field that holds the id of the thing the fact is about; `fact` is the last
    part of the subject `cbs.<service>.events.<fact>`, and stays when the class is renamed.
    """

    about: ClassVar[str]
    fact: ClassVar[str]

    def __init_subclass__(cls) -> None:
        assert "fact" in vars(cls), f"{cls.__name__} does not say its fact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who made a fact and why: the actor, whom a service acts for, what it follows from."""

    actor: str
    on_behalf_of: str = ""
    correlation_id: str = ""
    causation_id: str = ""
