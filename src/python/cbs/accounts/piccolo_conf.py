import os

from piccolo.conf.apps import AppRegistry

from cbs.platform.database import Database

DB = Database(os.environ.get("CBS_POSTGRES_URL", ""))
APP_REGISTRY = AppRegistry(apps=["cbs.accounts.piccolo_app"])
