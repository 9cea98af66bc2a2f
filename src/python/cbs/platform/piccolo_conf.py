"""Where piccolo finds the database that a migration runs on; it is put here before one runs."""

from typing import Any

from piccolo.conf.apps import AppRegistry
from piccolo.engine.base import Engine

DB: Engine[Any] | None = None
APP_REGISTRY = AppRegistry(apps=[])
