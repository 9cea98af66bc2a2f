from pathlib import Path

from piccolo.conf.apps import AppConfig

from cbs.audit.infrastructure.tables import EntryRow, HeadRow

APP_CONFIG = AppConfig(
    app_name="audit",
    migrations_folder_path=str(Path(__file__).parent / "infrastructure" / "migrations"),
    table_classes=[EntryRow, HeadRow],
)
