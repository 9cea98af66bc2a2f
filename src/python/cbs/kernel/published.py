"""What stands in a contract keeps its name, however the code behind it is renamed or moved."""

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound=type)


def published_as(name: str) -> Callable[[C], C]:
    """The name of a type in OpenAPI and AsyncAPI, where it is not the class's own.

    A page of a type bears the type's module, too: `module.path.Name` keeps both.
    """
    module, _, own = name.rpartition(".")

    def rename(cls: C) -> C:
        cls.__name__ = cls.__qualname__ = own
        cls.__module__ = module or cls.__module__
        return cls

    return rename
