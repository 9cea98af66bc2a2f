from pathlib import Path

from piccolo.conf.apps import AppConfig

from cbs.accounts.infrastructure.tables import AccountRow, ChangeRow, ProductRow

APP_CONFIG = AppConfig(
    app_name="accounts",
    migrations_folder_path=str(Path(__file__).parent / "infrastructure" / "migrations"),
    table_classes=[AccountRow, ChangeRow, ProductRow],
)
