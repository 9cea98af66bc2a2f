from pathlib import Path

from piccolo.conf.apps import AppConfig

from cbs.ledger.infrastructure.tables import AccountRow, PostingRow, TransactionRow

APP_CONFIG = AppConfig(
    app_name="ledger",
    migrations_folder_path=str(Path(__file__).parent / "infrastructure" / "migrations"),
    table_classes=[AccountRow, TransactionRow, PostingRow],
)
