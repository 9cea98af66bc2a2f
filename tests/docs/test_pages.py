"""What a page names is there: paths, links, decisions, and the words and options of `./cbs`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from cbs.tools.cli.main import app_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# A path on a page begins at one of these.
ROOTS = (ROOT, ROOT / "src/python/cbs", ROOT / "tests")
FOLDERS = (
    r"(?:src|tests|docs|nomad|consul|contracts|3rdparty|scripts|build-support|pants-plugins"
    r"|\.ci)/[\w./-]*"
)
FILES = r"[\w.-]+/[\w./-]*\.(?:py|md|hcl|json|toml|lock|sh|in)"
PATH = re.compile(rf"(?P<path>{FOLDERS}|{FILES})(?:::?(?P<test>.*))?")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
DECISION = re.compile(r"decisions? (\d+)(?: (?:and|to) (\d+))?")
WORDS = re.compile(r"\./cbs((?: [\w.:/=$\"'<>-]+)+)")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.S | re.M)
# Of a bank, or of the README's reader, and not of this repository.
ELSEWHERE = re.compile(r"(?:\.?/|out/|dist/|\.cbs)")
README_LINES_MAX, DECISION_LINES_MAX = 130, 40


def offences(page: Path, text: str) -> Iterator[str]:
    for code in CODE.findall(text):
        yield from missing_path(code)
    for link in LINK.findall(text):
        yield from broken_link(page, link)
    for numbers in DECISION.findall(text):
        for number in filter(None, numbers):
            if not list(ROOT.glob(f"docs/decisions/{int(number):04}-*.md")):
                yield f"there is no decision {number}"
    for said in [*CODE.findall(text), *SHELL.findall(text)]:
        for words in WORDS.findall(said):
            yield from unknown_words(words.split())


def missing_path(code: str) -> Iterator[str]:
    found = PATH.fullmatch(code)
    if found is None or ELSEWHERE.match(code):
        return
    places = [root / found["path"] for root in ROOTS]
    there = [place for place in places if place.exists()]
    if not there:
        yield f"there is no {code}"
    # `…` stands for what is left out of a test's name.
    for part in (found["test"] or "").split("…"):
        if there and part and part not in there[0].read_text():
            yield f"{found['path']} has no {part}"


def broken_link(page: Path, link: str) -> Iterator[str]:
    path, _, anchor = link.partition("#")
    if re.match(r"\w+:", path):
        yield f"{link} leads out of this repository"
        return
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        yield f"{link} leads nowhere"
    elif anchor and anchor not in map(slug, re.findall(r"^#+ (.*)$", target.read_text(), re.M)):
        yield f"{link}: no such heading"


def slug(heading: str) -> str:
    """As GitHub makes an anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def unknown_words(words: list[str]) -> Iterator[str]:
    """What `./cbs` would not understand of this."""
    command = typer.main.get_command(app_of())
    words = [word.strip("\"'") for word in words]
    while words and hasattr(command, "commands"):
        word, *words = words
        if word.startswith(("-", "<")) or word.isupper():
            return
        if word not in command.commands:
            yield f"./cbs has no {word}"
            return
        command = command.commands[word]
    known = {"--help", *(option for each in command.params for option in each.opts)}
    for word in words:
        option = word.partition("=")[0]
        if re.match(r"--?[a-z]", option) and option not in known:
            yield f"./cbs {command.name} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_what_is_there(page):
    found = list(offences(page, page.read_text()))

    assert not found, "\n".join(found)


def test_the_pages_are_read():
    names = {str(page.relative_to(ROOT)) for page in PAGES}

    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"} <= names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`ledger/domain/transactions.py`", "there is no ledger/"),
        ("`docs/runbooks/cluster.md`", "there is no docs/"),
        ("`tests/leger/`", "there is no tests/"),
        ("`ledger/test_book.py::…nobody_wrote_this`", "has no nobody_wrote_this"),
        ("[here](docs/nowhere.md)", "leads nowhere"),
        ("[here](README.md#nowhere)", "no such heading"),
        ("[here](https://cbs.example)", "out of this repository"),
        ("see decision 999", "no decision 999"),
        ("`./cbs start`", "has no start"),
        ("`./cbs release undo ledger`", "has no undo"),
        ("`./cbs up --background`", "up has no --background"),
        ("```sh\n./cbs verify --quickly\n```\n", "verify has no --quickly"),
    ],
)
def test_what_is_not_there_is_seen(text, said):
    assert any(said in offence for offence in offences(ROOT / "README.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "`ledger/domain/transaction.py`, `tests/ledger::`, `/v1/ledger/accounts`, `out/`",
        "`./cbs release can-i-deploy SERVICE --to prod`, `./cbs logs ledger -f`",
        "`./cbs WORD --help`",
    ],
)
def test_what_is_there_is_left_alone(text):
    assert not list(offences(ROOT / "README.md", text))


def test_what_the_source_says_of_the_docs_is_there():
    sources = [*ROOT.glob("src/python/cbs/**/*.py"), *ROOT.glob("nomad/**/*.hcl")]
    named = {
        (name, source.relative_to(ROOT))
        for source in sources
        for name in re.findall(r"docs/[\w/-]+\.md", source.read_text())
    }

    assert len(named) > 3
    assert not [name for name in named if not (ROOT / name[0]).exists()]


def test_readme_and_decisions_are_short():
    lengths = {page: len(page.read_text().splitlines()) for page in PAGES}
    long = [
        page.name
        for page, lines in lengths.items()
        if (page.parent.name == "decisions" and lines > DECISION_LINES_MAX)
        or (page == ROOT / "README.md" and lines > README_LINES_MAX)
    ]

    assert not long


def test_the_table_of_contents_leads_to_every_page():
    contents = ROOT / "docs/README.md"
    linked = {
        (contents.parent / link.partition("#")[0]).resolve()
        for link in LINK.findall(contents.read_text())
    }

    assert [
        page.name for page in PAGES if page not in {contents, *linked, ROOT / "CHANGELOG.md"}
    ] == []
