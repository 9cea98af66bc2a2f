"""The names by which rows, contracts and consumers know what modules define."""

from collections.abc import Iterator
from types import ModuleType
from typing import TypeVar

from cbs.kernel.event import Event
from cbs.kernel.refusal import Refusal

T = TypeVar("T")


def refusals(*modules: ModuleType) -> dict[str, str]:
    """The codes of the refusals, and their kinds."""
    return {each.code: each.kind.value for each in _defined(Refusal, modules)}


def facts(*modules: ModuleType) -> dict[str, str]:
    """The facts, and which field says what each is about."""
    return {each.fact: each.about for each in _defined(Event, modules)}


def _defined(kind: type[T], modules: tuple[ModuleType, ...]) -> Iterator[type[T]]:
    for module in modules:
        for each in vars(module).values():
            here = getattr(each, "__module__", None) == module.__name__
            if here and isinstance(each, type) and issubclass(each, kind):
                yield each
