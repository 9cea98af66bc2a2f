"""What is committed in contracts/ is what the code says; `./cbs contracts write` writes it anew."""

from pathlib import Path

import pytest

from cbs.bank import SERVICES
from cbs.tools.release.contracts import described, files_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("service", SERVICES)
def test_the_contracts_are_as_the_code(service):
    documents = described(service)
    assert set(documents) == {"openapi", "asyncapi"}

    for place, text in files_of(service, documents).items():
        committed = (ROOT / place).read_text()
        assert committed == text, f"{place} drifted: run ./cbs contracts write, read the diff"


def test_a_drift_is_seen():
    documents = described("ledger")
    before = files_of("ledger", documents)
    del documents["openapi"]["paths"]["/v1/ledger/transactions"]["post"]["responses"]["409"]

    assert files_of("ledger", documents) != before


def test_unknown_fields_are_told_the_truth_about():
    schemas = described("ledger")["openapi"]["components"]["schemas"]
    closed = {
        name for name, schema in schemas.items() if schema.get("additionalProperties") is False
    }

    assert {"Post", "LegWanted", "OpenInternalAccount"} <= {name.split("_")[-1] for name in closed}
