"""Customers promises nothing about its rows beyond what every service does."""

from cbs.platform.invariants import Check

CHECKS: tuple[Check, ...] = ()
