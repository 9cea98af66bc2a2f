"""What docs/reference says follows from the code, or is compared with it."""

import re
from pathlib import Path

import msgspec
import pytest

from cbs.customers.main import CustomersSettings
from cbs.gateway.settings import GatewaySettings
from cbs.platform.settings import PREFIX, Settings
from tests.docs import reference

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / reference.FOLDER).glob("*.md"))
CONFIGURATION = (ROOT / reference.FOLDER / "configuration.md").read_text()
VARIABLE = re.compile(r"\bCBS_[A-Z_]+\b")
# JetStream's names begin so, too: streams are `CBS_<SERVICE>`.
STREAMS = re.compile(r"CBS_(?:LEDGER|PAYMENTS|AUDIT|RELEASE)\b(?!_)")
READ_FROM = ("src/python/**/*.py", "nomad/**/*.hcl", "cbs", ".ci/*", "tests/**/*.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_as_the_code_has_them(page: Path):
    text = page.read_text()

    assert reference.written(text) == text, "./pants run tests/docs/reference.py"


def test_every_table_is_on_a_page():
    text = "".join(page.read_text() for page in PAGES)

    assert [name for name in reference.TABLES if f"<!-- {name} -->" not in text] == []


def test_a_table_that_is_not_as_the_code_has_it_is_seen():
    page = "# Words\n\n<!-- commands -->\n| `./cbs undo` | takes a posting back |\n<!-- end -->\n"

    assert "undo" not in reference.written(page)
    assert "./cbs up" in reference.written(page)


def section(heading: str) -> dict[str, str]:
    """Variable -> default, of the table under a heading."""
    (part,) = [each for each in CONFIGURATION.split("\n## ") if each.startswith(heading)]
    return dict(re.findall(r"^\| `(CBS_\w+)` \| (.*?) \|", part, re.M))


@pytest.mark.parametrize(
    ("heading", "settings"), [("Every service", Settings), ("The gateway", GatewaySettings)]
)
def test_settings_and_their_defaults_are_described(heading: str, settings: type[msgspec.Struct]):
    def default(field: msgspec.structs.FieldInfo) -> str:
        if field.required:
            return "required"
        return "none" if field.default in (None, "") else f"`{field.default}`"

    fields = msgspec.structs.fields(settings)

    assert section(heading) == {f"{PREFIX}{each.name.upper()}": default(each) for each in fields}


def test_customers_own_setting_is_described():
    own = set(CustomersSettings.__struct_fields__) - set(Settings.__struct_fields__)

    assert {f"{PREFIX}{name.upper()}" for name in own} <= set(VARIABLE.findall(CONFIGURATION))


def test_every_variable_is_described_and_read():
    files = [file for pattern in READ_FROM for file in ROOT.glob(pattern) if file.is_file()]
    here = Path(__file__).parent
    read = "\n".join(file.read_text() for file in files if here not in file.parents)
    fields = (*Settings.__struct_fields__, *GatewaySettings.__struct_fields__)
    made = {f"{PREFIX}{name.upper()}" for name in (*fields, *CustomersSettings.__struct_fields__)}
    binaries = {"CBS_NOMAD_BINARY", "CBS_CONSUL_BINARY"}  # made of the tool's name
    known = set(VARIABLE.findall(STREAMS.sub("", read))) | made | binaries
    described = set(VARIABLE.findall(CONFIGURATION))

    assert described == known - {"CBS_TEST_SLOT"}  # Pants' own: which of its processes it is
