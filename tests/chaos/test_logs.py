"""What the logs of a broken bank tell: what nobody foresaw, and what ended without being killed."""

from cbs.tools.lab.chaos.convergence import ended_by_themselves, errors_logged
from cbs.tools.local.folder import Folder

LEDGER = """\
{"level": "warning", "event": "batch-lost", "service": "ledger"}
{"level": "error", "event": "task-failed", "task": "changes"}
{"level": "error", "event": "task-fai
Traceback (most recent call last):
  File "x.py", line 1
{"event": "task-failed", "level": "error"}
"""
SUPERVISOR = """\
2026-11-23T17:02:21Z   ✓ ledger (4.2 s)
2026-11-23T17:02:28Z ledger ended (exit -9), again in 0.2 s
2026-11-23T17:03:09Z accounts ended (exit 1), again in 0.2 s
2026-11-23T17:03:37Z accounts ended (exit 1), again in 0.2 s
2026-11-23T17:03:38Z audit ended (exit -11), again in 0.2 s
2026-11-23T17:03:39Z postgres ended (exit 1), again in 0.2 s
"""


def test_errors_are_counted_by_service_and_event_whatever_a_kill_cut_off(tmp_path):
    folder = Folder.at(tmp_path)
    folder.log("ledger").write_text(LEDGER)
    folder.log("ledger").with_suffix(".log.1").write_text(LEDGER)
    folder.log("nats").write_text(LEDGER)

    assert errors_logged(folder) == {"ledger task-failed": 4, "ledger traceback": 2}


def test_a_service_that_was_not_killed_ended_by_itself(tmp_path):
    folder = Folder.at(tmp_path)
    folder.log("supervisor").write_text(SUPERVISOR)

    found = ended_by_themselves(folder)

    assert found == {"accounts (exit 1)": 2, "audit (exit -11)": 1}
