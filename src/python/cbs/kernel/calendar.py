"""A business date is the date in Mumbai at that moment, whatever the server's clock zone is."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

BANK_ZONE = ZoneInfo("Asia/Kolkata")
# No book that was ever brought in begins before it.
EARLIEST_BUSINESS_DATE = date(1950, 1, 1)


def business_date(at: datetime) -> date:
    assert at.tzinfo is not None, "times carry a zone"
    return at.astimezone(BANK_ZONE).date()
