"""A version from before the services were laid out anew is judged, diffed and verified as any."""

import sys
from collections.abc import Mapping

import pytest

from cbs.bank import SERVICES
from cbs.platform.declaration import Needs, declaration_of
from cbs.tools.local.plan import SOURCE
from cbs.tools.release.deploy.difference import difference
from cbs.tools.release.gate.history import PACTS, GitHistory, pact_of
from cbs.tools.release.gate.migrations import migrations
from cbs.tools.release.gate.runner import Runner
from cbs.tools.release.layout import BEFORE, LOCK, MARK, NOW, SOURCES, Layout, calls_in, needs_in
from tests.release.place import Place

FIRST = 'sql_migration(script="CREATE TABLE posting (seq bigint, day date)")\n'
LESS = 'sql_migration(script="ALTER TABLE posting DROP COLUMN day")\n'
MORE = 'sql_migration(script="ALTER TABLE posting ADD COLUMN note text")\n'
READS = 'DAYS = "SELECT day FROM posting"\n'
DECLARED = "DECLARATION = Declaration(service={!r}, calls={!r})\n"
REPORTS = 'import pathlib, sys\npathlib.Path(sys.argv[1]).write_text(\'{"error": "%s"}\')\n'
SAYS = "import sys\nsys.exit('{} is told ' + sys.argv[1])\n"
LAUNCHER = '#!/bin/sh\nPYTHONPATH="$(dirname "$0")/src/python" exec {} -P -m {} "$@"\n'
LAYOUTS = {"before": BEFORE, "now": NOW}
WAYS = [("before", "now"), ("now", "before")]


class Tree(Place):
    """A small bank of two services, laid out as a commit of then or of now."""

    def lay_out(self, layout: Layout, more: Mapping[str, str] | None = None) -> str:
        """`more` are migrations of the ledger. Returns the commit."""
        self.git("rm", "-r", "--quiet", "--ignore-unmatch", ".")
        self.write(LOCK, "msgspec==1\n")
        if layout is NOW:
            self.write(MARK, "SERVICES = ()\n")
        for service, calls in {"ledger": (), "payments": ("ledger.post",)}.items():
            place = f"{SOURCES}/{service}"
            self.write(f"{place}/{layout.declaration}", DECLARED.format(service, calls))
        for name, text in ({"ledger_0001_first.py": FIRST} | dict(more or {})).items():
            self.write(f"{SOURCES}/ledger/{layout.migrations}/{name}", text)
        self.write(f"{SOURCES}/ledger/domain/day.py", READS)
        self.pact("payments", "ledger", "ask")
        program = f"{SOURCES}/{layout.program.removeprefix('cbs.').replace('.', '/')}.py"
        self.write(program, REPORTS % f"{layout.program} of this tree")
        return self.commit()


@pytest.fixture
def tree(tmp_path) -> Tree:
    made = Tree(tmp_path / "clone")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@pytest.mark.parametrize(("old", "new"), WAYS)
def test_a_migration_that_only_moved_is_the_one_that_ran(tree, old, new):
    deployed, next_ = (tree.lay_out(LAYOUTS[each]) for each in (old, new))
    history = GitHistory(tree.root)

    assert migrations(history, "ledger", deployed, next_) == []
    assert difference(history, "ledger", "prod", deployed, next_).migrations == []


@pytest.mark.parametrize(("old", "new"), WAYS)
def test_one_that_was_changed_on_its_way_is_refused(tree, old, new):
    deployed = tree.lay_out(LAYOUTS[old])
    changed = tree.lay_out(LAYOUTS[new], {"ledger_0001_first.py": FIRST.replace("date", "text")})

    (reason,) = migrations(GitHistory(tree.root), "ledger", deployed, changed)

    assert reason.answer == "no"
    assert "ledger_0001_first.py is not as ledger@" in reason.why


@pytest.mark.parametrize(("old", "new"), WAYS)
def test_an_older_version_runs_on_the_schema_of_a_newer_that_only_expands_it(tree, old, new):
    older = tree.lay_out(LAYOUTS[old])
    deployed = tree.lay_out(LAYOUTS[new], {"ledger_0002_more.py": MORE})

    assert migrations(GitHistory(tree.root), "ledger", deployed, older) == []


@pytest.mark.parametrize(("old", "new"), WAYS)
def test_nobody_goes_back_behind_what_took_away_what_the_older_version_uses(tree, old, new):
    older = tree.lay_out(LAYOUTS[old])
    deployed = tree.lay_out(LAYOUTS[new], {"ledger_0002_less.py": LESS})

    (reason,) = migrations(GitHistory(tree.root), "ledger", deployed, older)

    assert reason.answer == "no"
    assert f"contracts what ledger@{older[:10]} uses: posting.day" in reason.why
    assert "go back to a version that does not need it" in reason.todo


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_newer_version_that_lacks_what_has_run_is_refused(tree, name):
    deployed = tree.lay_out(LAYOUTS[name], {"ledger_0002_more.py": MORE})
    without = tree.lay_out(LAYOUTS[name])

    (reason,) = migrations(GitHistory(tree.root), "ledger", deployed, without)

    assert reason.answer == "no"
    assert "ledger_0002_more.py, which ledger@" in reason.why
    assert f"was taken away in {without[:7]}" in reason.why


@pytest.mark.parametrize(("old", "new"), WAYS)
def test_what_takes_away_what_the_deployed_version_uses_is_refused(tree, old, new):
    deployed = tree.lay_out(LAYOUTS[old])
    less = tree.lay_out(LAYOUTS[new], {"ledger_0002_less.py": LESS})
    history = GitHistory(tree.root)

    (reason,) = migrations(history, "ledger", deployed, less)
    (shown,) = difference(history, "ledger", "prod", deployed, less).migrations

    assert reason.answer == "no"
    assert "posting.day, used in src/python/cbs/ledger/domain/day.py" in reason.why
    assert shown.name == "ledger_0002_less.py"


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_a_service_calls_and_how_it_is_verified_answer_for_it(tree, name):
    layout, history = LAYOUTS[name], GitHistory(tree.root)
    sha = tree.lay_out(layout)
    content = {history.content("payments", sha)}
    for place in ("ledger/domain/day.py", f"{layout.verification}/states.py"):
        tree.write(f"{SOURCES}/{place}", "changed = True\n")
        content.add(history.content("payments", tree.commit()))

    assert len(content) == 3


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_version_is_verified_by_its_own_program(tree, name):
    sha = tree.lay_out(LAYOUTS[name])
    pact = pact_of((tree.root / PACTS / "payments-ledger.json").read_bytes())
    tree.lay_out(NOW)

    report = Runner(history=GitHistory(tree.root), say=lambda _: None, kept=tree.root / "derived")(
        sha, [pact], sha, sha
    )

    assert report.error == f"{LAYOUTS[name].program} of this tree"


@pytest.mark.parametrize("name", LAYOUTS)
def test_where_it_has_none_its_bank_is_brought_up_for_ours(tree, name):
    layout = LAYOUTS[name]
    tree.lay_out(layout)
    tree.git("rm", "-r", "--quiet", f"{SOURCES}/{layout.verification}")
    folder = f"{SOURCES}/{layout.bank.removeprefix('cbs.').replace('.', '/')}"
    tree.write(f"{folder}/__main__.py", SAYS.format(layout.bank))
    # It wants other packages than this tree has: its own launcher gives them to its bank.
    tree.write("cbs", LAUNCHER.format(sys.executable, layout.bank))
    (tree.root / "cbs").chmod(0o755)
    sha = tree.commit()
    pact = pact_of((tree.root / PACTS / "payments-ledger.json").read_bytes())
    tree.lay_out(NOW)

    report = Runner(history=GitHistory(tree.root), say=lambda _: None, kept=tree.root / "derived")(
        sha, [pact], sha, sha
    )

    assert f"{layout.bank} is told up" in report.error


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_read_of_a_declaration_is_what_it_declares(service):
    text = (SOURCE / "cbs" / service / "service.py").read_text()
    declared = declaration_of(service)

    assert (tuple(calls_in(text)), needs_in(text)) == (declared.calls, declared.needs)


def test_who_declares_no_needs_has_the_usual_ones():
    assert needs_in(DECLARED.format("ledger", ())) == Needs()
