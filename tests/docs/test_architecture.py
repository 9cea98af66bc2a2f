"""What docs/architecture.md draws and counts is as the code has it."""

import re
import tomllib
from pathlib import Path

from cbs.bank import SERVICES
from tests.architecture.test_tidy import OBLIGATORY, OPTIONAL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
NAMED = re.compile(r"((?:`\w+`(?:, | and )?)+) in `([\w/]+\.py)`")
ANSWERED = {"2", "3", "4", "5", "6"}


def section(heading: str) -> str:
    (part,) = [part for part in re.split(r"^##+ ", PAGE, flags=re.M) if part.startswith(heading)]
    return part


def test_the_picture_has_the_rooms_of_the_import_contracts_in_their_order():
    contracts = tomllib.loads((ROOT / "tests/architecture/contracts.toml").read_text())
    layers = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    drawn = [set(re.split(r" {3,}", line.strip())) for line in section("The house").splitlines()]

    places = []
    for layer in layers:
        rooms = {room.replace(".", "/") for room in re.findall(r"cbs\.([\w.]+)", layer)}
        rooms |= set(SERVICES) if "@services" in layer else set()
        places += [number for number, names in enumerate(drawn) if rooms <= names][:1] or [layer]
    assert places == sorted(places, key=int)


def test_every_name_of_a_services_folder_is_explained():
    listed = set(re.findall(r"^\| `(\w+)(?:\.py|/)` \|", section("A service"), re.M))

    assert listed == (OBLIGATORY | OPTIONAL) - {"__init__", "BUILD"}


def test_the_types_of_the_walk_are_there_and_counted():
    rows = re.findall(r"^\| (\d) \| (.*) \| (.*) \|$", section("Types and encodings"), re.M)
    types = {step: 0 for step, _, _ in rows}
    coded = dict.fromkeys(types, 0)
    for step, said, json in rows:
        coded[step] += len(json.split(", "))
        for names, path in NAMED.findall(said):
            text = (ROOT / "src/python/cbs" / path).read_text()
            for name in re.findall(r"\w+", names.replace(" and ", " ")):
                assert re.search(rf"^class {name}\b", text, re.M), (name, path)
                types[step] += 1

    answered = [sum(of[step] for step in ANSWERED) for of in (types, coded)]
    assert f"{answered[0]} types, {answered[1]} times JSON" in PAGE
