"""Audit hears everybody, itself included, and asks nobody."""

from cbs.bank import SERVICES
from cbs.platform.declaration import Declaration

DECLARATION = Declaration(
    service="audit",
    entrance="/v1/audit/head",
    hears=SERVICES,
    publishes=("release-judged",),
    keeps=("audit_entry", "audit_node", "audit_head"),
    permits=("audit.read", "audit.record"),
)
