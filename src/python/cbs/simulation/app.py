"""A restart makes no new HTTP app: only what its handlers are given belongs to one process.

Litestar takes longer to read the handlers' signatures than the bank does for a hundred requests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from cbs.kernel.principal import Principal
from cbs.platform.bus import NotPermittedHook
from cbs.platform.http import http_app
from cbs.simulation.process import current

_made: dict[str, Litestar] = {}


def app_of(
    *,
    service: str,
    routes: Sequence[Any],
    provide: Mapping[str, Any],
    on_not_permitted: NotPermittedHook,
) -> Litestar:
    """Called in the process that starts; a handler later finds what its own process provides."""
    current().given = {**provide, "on_not_permitted": on_not_permitted}
    if service not in _made:
        _made[service] = http_app(
            service=service,
            routes=routes,
            provide={name: _given(name) for name in provide},
            on_not_permitted=_not_permitted,
        )
    return _made[service]


def _given(name: str) -> Provide:
    def give() -> Any:
        return current().given[name]

    return Provide(give, sync_to_thread=False)


async def _not_permitted(principal: Principal, permission: str, operation: str) -> None:
    await current().given["on_not_permitted"](principal, permission, operation)
