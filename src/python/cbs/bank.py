"""The services that this bank is made of: whatever lists services takes them from here.

Pants reads this file, too, beside its macros, so it imports nothing.
"""

SERVICES = ("customers", "accounts", "ledger", "payments", "audit")
