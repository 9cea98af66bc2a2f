"""What each state means for every operation, as one table: what is answered, `ok` or a refusal.

docs/reference/life-cycles.md is written from it, test_life_cycle.py holds the services to it.
"""

OK = "ok"
CUSTOMER = (
    "amend",
    "present document",
    "verify document",
    "reject document",
    "rate risk",
    "suspend",
    "reinstate",
    "close customer",
    "open account",
)
ACCOUNT = ("pay in", "pay out", "freeze", "unfreeze", "change limits", "close account")
OPERATIONS = (*CUSTOMER, *ACCOUNT)

# Of the customer, and of their account: empty, in each state that it can be in with such a holder.
ROWS: dict[tuple[str, str], tuple[str, ...]] = {
    ("active", "open"): (
        *(OK, OK, OK, OK, OK, OK, "customer-not-suspended", "customer-not-suspended", OK),
        *(OK, "insufficient-funds", OK, "not-frozen", OK, OK),
    ),
    ("active", "debits frozen"): (
        *(OK, OK, OK, OK, OK, OK, "customer-not-suspended", "customer-not-suspended", OK),
        *(OK, "account-blocked", OK, OK, OK, "account-frozen"),
    ),
    ("active", "all frozen"): (
        *(OK, OK, OK, OK, OK, OK, "customer-not-suspended", "customer-not-suspended", OK),
        *("account-blocked", "account-blocked", OK, OK, OK, "account-frozen"),
    ),
    ("active", "closed"): (
        *(OK, OK, OK, OK, OK, OK, "customer-not-suspended", "customer-not-suspended", OK),
        *("account-closed", "account-closed", *["account-not-open"] * 4),
    ),
    ("suspended", "open"): (
        *(OK, OK, OK, OK, OK, "customer-not-active", OK, "customer-has-accounts"),
        "customer-not-active",
        *(OK, "account-blocked", OK, "frozen-with-customer", OK, OK),
    ),
    ("suspended", "all frozen"): (
        *(OK, OK, OK, OK, OK, "customer-not-active", OK, "customer-has-accounts"),
        "customer-not-active",
        *("account-blocked", "account-blocked", OK, OK, OK, "account-frozen"),
    ),
    ("suspended", "closed"): (
        *(OK, OK, OK, OK, OK, "customer-not-active", OK, OK, "customer-not-active"),
        *("account-closed", "account-closed", *["account-not-open"] * 4),
    ),
    ("closed", "closed"): (
        *["customer-is-closed"] * 8,
        "customer-not-active",
        *("account-closed", "account-closed", *["account-not-open"] * 4),
    ),
}


def markdown() -> str:
    """A table of operations by states."""
    heads = [f"{customer}, {account}" for customer, account in ROWS]
    lines = ["| customer, account | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for place, operation in enumerate(OPERATIONS):
        answers = [row[place] for row in ROWS.values()]
        cells = [OK if each == OK else f"`{each}`" for each in answers]
        lines.append(f"| {operation} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
