from pathlib import Path

from piccolo.conf.apps import AppConfig

from cbs.customers.infrastructure.tables import CustomerRow, DocumentRow

APP_CONFIG = AppConfig(
    app_name="customers",
    migrations_folder_path=str(Path(__file__).parent / "infrastructure" / "migrations"),
    table_classes=[CustomerRow, DocumentRow],
)
