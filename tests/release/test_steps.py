"""Our migrations only add; every statement that takes something away is seen."""

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cbs.tools.local.process import CannotStart
from cbs.tools.release.desk import cannot_say
from cbs.tools.release.migration_lint.locks import locks
from cbs.tools.release.migration_lint.steps import statements_of
from cbs.tools.release.migration_lint.uses import still_used
from cbs.tools.release.migration_lint.verdicts import MigrationStep

SOURCE = Path(__file__).parents[2] / "src" / "python" / "cbs"
MIGRATIONS = sorted(SOURCE.glob("*/migrations/*_0*.py"))
E, C, U = MigrationStep.EXPAND, MigrationStep.CONTRACT, MigrationStep.UNKNOWN


def module(script):
    return f"async def forwards():\n    return sql_migration(service='x', script={script!r})\n"


def steps(script, *before):
    return [(s.step, s.takes_away) for s in statements_of(module(script), before=before)]


def test_our_migrations_are_found():
    assert len(MIGRATIONS) >= 5


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_our_migrations_only_add(path):
    found = statements_of(path.read_text())

    assert found
    assert [s for s in found if s.step is not E] == []


@pytest.mark.parametrize(
    ("sql", "step", "gone"),
    [
        ("CREATE TABLE t (a int)", E, ()),
        ("CREATE INDEX ON t (a)", E, ()),
        ("CREATE UNIQUE INDEX i ON t (a)", C, ()),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; DROP TABLE t $$", E, ()),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", U, ()),
        ("CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", U, ()),
        ("CREATE TYPE mood AS ENUM ('a')", E, ()),
        ("ALTER TABLE t ADD COLUMN a text", E, ()),
        ("ALTER TABLE t ADD a int NOT NULL DEFAULT 0", E, ()),
        ("ALTER TABLE t ADD a text CHECK (a <> 'x; y')", E, ()),
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS a int NOT NULL", C, ()),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", C, ()),
        ("ALTER TABLE t ADD UNIQUE (a)", C, ()),
        ("ALTER TABLE ONLY public.t DROP COLUMN IF EXISTS a, DROP b", C, ("t.a", "t.b")),
        ("ALTER TABLE t DROP CONSTRAINT c", U, ()),
        ("ALTER TABLE t ALTER a DROP NOT NULL", E, ()),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", C, ()),
        ("ALTER TABLE t ALTER a DROP DEFAULT", C, ()),
        ("ALTER TABLE t ALTER a TYPE text", U, ()),
        ("ALTER TABLE t ALTER a TYPE date USING a::date", C, ()),
        ('ALTER TABLE "t" RENAME COLUMN "a" TO b', C, ("t.a",)),
        ("ALTER TABLE t RENAME a TO b", C, ("t.a",)),
        ("ALTER TABLE t RENAME TO u", C, ("t",)),
        ("ALTER INDEX i RENAME TO j", C, ("i",)),
        ("ALTER TABLE t ADD a text, DROP COLUMN b", C, ("t.b",)),
        ("ALTER TABLE t OWNER TO somebody", U, ()),
        ("DROP TABLE IF EXISTS t, public.u CASCADE", C, ("t", "u")),
        ("DROP VIEW v", C, ("v",)),
        ("DROP FUNCTION f(int, text)", C, ("f()",)),
        ("DROP TRIGGER x ON t", C, ()),
        ("DROP INDEX i", U, ()),
        ("GRANT SELECT ON t TO cbs_x", E, ()),
        ("REVOKE SELECT ON t FROM cbs_x", C, ("t",)),
        ("REVOKE UPDATE (a, b) ON t FROM cbs_x", C, ("t.a", "t.b")),
        ("INSERT INTO t VALUES ('; DROP TABLE t; --')", E, ()),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", U, ()),
        ("UPDATE t SET a = 1", U, ()),
        ("DELETE FROM t WHERE a = 1", C, ("t",)),
        ("TRUNCATE t", C, ("t",)),
        ("DO $x$ BEGIN DROP TABLE t; END $x$", U, ()),
        ("/* a /* nested; */ comment; */ DROP TABLE t -- ; expand: no", C, ("t",)),
        ("-- expand: every row has it\nALTER TABLE t ALTER a SET NOT NULL", E, ()),
        ("ALTER TABLE t ADD COLUMN a int CHECK (a > 0)", E, ()),
        ("ALTER TABLE t ADD COLUMN a int CHECK (a > 0 OR t.b > 0)", C, ()),
        ("ALTER TABLE t ADD COLUMN a int CHECK (b > 0)", C, ()),
        ("-- expand: nobody reads it\nALTER TABLE t DROP a", C, ("t.a",)),
    ],
)
def test_a_statement_adds_or_takes_away(sql, step, gone):
    assert steps(sql) == [(step, gone)]


OF_A_TABLE = """
    CREATE TABLE t (id uuid PRIMARY KEY, a int UNIQUE, b int CHECK (b > 0),
        CONSTRAINT c CHECK (a > 0), UNIQUE (a, b), CONSTRAINT d UNIQUE (b));
    ALTER TABLE t ADD CONSTRAINT e EXCLUDE USING gist (a WITH =);
    CREATE UNIQUE INDEX f ON t (b); CREATE INDEX g ON t (b);
"""


@pytest.mark.parametrize("name", ["t_pkey", "t_a_key", "t_a_b_key", "d", "e"])
def test_without_what_is_unique_a_conflict_is_none(name):
    assert steps(f"ALTER TABLE t DROP CONSTRAINT {name}", module(OF_A_TABLE)) == [(C, ())]


@pytest.mark.parametrize("name", ["t_b_check", "c"])
def test_less_may_be_asked(name):
    assert steps(f"ALTER TABLE t DROP CONSTRAINT {name}", module(OF_A_TABLE)) == [(E, ())]


@pytest.mark.parametrize(("name", "step"), [("f", C), ("g", E), ("h", U)])
def test_an_index_may_have_been_unique(name, step):
    assert [found for found, _ in steps(f"DROP INDEX {name}", module(OF_A_TABLE))] == [step]


def test_what_somebody_has_decided_is_told_with_what_it_was():
    (found,) = statements_of(module("-- expand: nothing relies on it\nDROP TRIGGER x ON t"))

    assert (found.step, found.decided) == (E, "nothing relies on it")
    assert found.why == "the running version may rely on what x does on t"


def test_what_is_made_in_the_same_migration_is_nobodys_yet():
    script = """
        CREATE TABLE t (a int); ALTER TABLE t ADD CHECK (a > 0); CREATE UNIQUE INDEX ON t (a);
        CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f(); ALTER TABLE t DROP COLUMN a;
        ALTER TABLE old ADD COLUMN b int; UPDATE old SET b = a + 1 WHERE c = 2; DROP TABLE t;
    """
    assert {step for step, _ in steps(script)} == {E}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("varchar(16)", "text", E),
        ("varchar(16)", "varchar(32)", E),
        ("varchar(16)", "varchar(8)", C),
        ("text", "varchar(8)", C),
        ("int", "bigint", E),
        ("bigint", "integer", C),
        ("int", "text", C),
    ],
)
def test_a_type_is_wider_or_narrower_than_the_one_before(old, new, step):
    before = module(f"CREATE TABLE t (id uuid PRIMARY KEY, a {old} NOT NULL CHECK (a > 0))")
    assert steps(f"ALTER TABLE t ALTER COLUMN a SET DATA TYPE {new}", before) == [(step, ())]


@pytest.mark.parametrize(
    ("call", "step", "gone"),
    [
        ("add_table(class_name='T', tablename='t')", E, ()),
        ("drop_table(class_name='T', tablename='t')", C, ("t",)),
        ("drop_column(table_class_name='T', tablename='t', column_name='a')", C, ("t.a",)),
        ("rename_column(tablename='t', old_column_name='a', new_column_name='b')", C, ("t.a",)),
        ("add_column(tablename='t', column_name='a', params={'null': True})", E, ()),
        ("add_column(tablename='t', column_name='a', params={'null': False})", C, ()),
        ("alter_column(tablename='t', column_name='a', params={'null': False})", C, ()),
        ("add_raw(run)", U, ()),
    ],
)
def test_piccolos_own_calls_are_judged_too(call, step, gone):
    text = f"manager = MigrationManager(migration_id='x')\nmanager.{call}\n"
    assert [(s.step, s.takes_away) for s in statements_of(text)] == [(step, gone)]


@pytest.mark.parametrize(
    "text",
    ["def (", "x = 1",
     "sql_migration(script=made_up())", "A = 'x'; A += y\nsql_migration(script=A)",
     "sql_migration(script=f'DROP TABLE {name}')"],
)  # fmt: skip
def test_what_cannot_be_read_is_not_called_safe(text):
    assert any(s.step is not E for s in statements_of(text))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE INDEX ON t (a)", "updates are blocked"),
        ("ALTER TABLE t ADD a int REFERENCES u", "SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE t ALTER a SET NOT NULL", "blocks reads while the table is scanned"),
        ("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b + 1) STORED", "table rewrite"),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "not allowed when"),
    ],
)
def test_what_keeps_a_busy_table_waiting_is_told(sql, said):
    [told] = locks(module(f"CREATE TABLE n (a int);\n{sql};\nCREATE INDEX ON n (a)"))

    assert told.startswith(f"{sql};: ") and said in told


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_our_migrations_keep_nobody_waiting(path):
    assert locks(path.read_text()) == []


def test_what_squawk_cannot_read_is_left_to_a_person(monkeypatch, tmp_path):
    broken = tmp_path / "squawk"
    broken.write_text("#!/bin/sh\necho what is this >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("cbs.tools.release.migration_lint.locks.installed", lambda _: str(broken))

    [told] = locks(module("CREATE INDEX ON t (a)"))

    assert "look yourself" in told and told.endswith("what is this")


def test_a_tool_that_is_missing_is_said_in_a_line(capsys):
    with pytest.raises(typer.Exit) as ended, cannot_say():
        raise CannotStart("squawk is not installed: run ./cbs, which installs it")

    assert ended.value.exit_code == 3
    assert capsys.readouterr().err.startswith("squawk is not installed")


SNIPPETS = st.sampled_from(["'", "$$", "$a$", ";", "--", "\n", "/*", "*/", '"', "E'\\'", "x", " "])


@given(st.lists(SNIPPETS | st.text(max_size=3), max_size=20).map("".join))
def test_whatever_stands_before_it_nothing_hides_a_statement(script):
    assert any(step is not E for step, _ in steps(f"{script}\n; DROP TABLE t"))


LEDGER = {
    str(path.relative_to(SOURCE)): path.read_text()
    for path in sorted((SOURCE / "ledger").rglob("*.py"))
    if "migrations" not in path.parts
}


def test_a_column_that_the_running_version_uses_is_found():
    [dropped] = statements_of(module("ALTER TABLE posting DROP COLUMN balance_after_minor"))
    [name] = dropped.takes_away

    assert "ledger/tables.py" in still_used(name, LEDGER)
    assert still_used("posting.no_such_column", LEDGER) == []
    assert still_used("no_such_table.balance_after_minor", LEDGER) == []


def test_only_what_reaches_the_database_is_a_use():
    sources = {
        "sql.py": 'Q = "SELECT limit_minor FROM cap"',
        "row.py": "class Row(Table, tablename='cap'):\n    limit_minor = BigInt()",
        "prose.py": '"""The limit_minor of a cap."""\n# limit_minor\n',
        "other.py": 'Q = "SELECT cap_limit_minor FROM recap"',
    }
    assert still_used("cap.limit_minor", sources) == ["row.py", "sql.py"]
    assert still_used("cap", sources) == ["row.py", "sql.py"]
