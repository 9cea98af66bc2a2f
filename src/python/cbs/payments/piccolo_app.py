from pathlib import Path

from piccolo.conf.apps import AppConfig

from cbs.payments.infrastructure.tables import TransferRow

APP_CONFIG = AppConfig(
    app_name="payments",
    migrations_folder_path=str(Path(__file__).parent / "infrastructure" / "migrations"),
    table_classes=[TransferRow],
)
