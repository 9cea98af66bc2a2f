"""Envoy is told what the registry says when that changes; a silent registry changes nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from cbs.gateway.places import CANARY_WEIGHT_PERCENT, Place, is_address, weighed, write_endpoints
from cbs.platform.registry import Instance, Registry

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Follower:
    """Keeps one service's file as the registry has it; `answered` once it has been told."""

    registry: Registry
    service: str
    folder: Path
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _instances: list[Instance] | None = None
    _percent: int | None = None
    _told: list[Place] | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow_instances())
            both.create_task(self._follow_percent())

    async def _follow_instances(self) -> None:
        async for found in self.registry.follow(self.service):
            for each in found:
                if not is_address(each.host):
                    log.warning(
                        "left-out", instance=each.instance, host=each.host, why="no address"
                    )
            self._instances = found
            self._tell()

    async def _follow_percent(self) -> None:
        key = f"cbs/routes/{self.service}/canary-percent"
        async for text in self.registry.follow_value(key):
            self._percent = percent_of(text, key)
            self._tell()

    def _tell(self) -> None:
        """Both must be known: a percentage not yet read could be 0."""
        if self._instances is None or self._percent is None:
            return
        found = weighed(self._instances, canary_percent=self._percent)
        if found != self._told:
            write_endpoints(self.folder, self.service, found)
            self._told = found
            log.info("instances", of=self.service, listed=len(found))
        self.answered.set()


def percent_of(text: str | None, key: str) -> int:
    """What makes no sense is 0: a canary that nobody can size gets nothing."""
    if text is None:
        return CANARY_WEIGHT_PERCENT
    if not (text.strip().isdecimal() and int(text) <= 100):
        log.warning("no-percentage", key=key)
        return 0
    return int(text)


def tell_fixed(folder: Path, places: Mapping[str, Place]) -> None:
    for service, place in places.items():
        write_endpoints(folder, service, [place])
