"""What PostgreSQL asks for each segment of its WAL: kept whole, once, or not at all."""

import gzip

import pytest

from cbs.tools.local import wal_segment

NAME = "000000010000000000000003"


@pytest.fixture
def wal(tmp_path):
    """A segment that PostgreSQL wants archived, beside one that waits, and where to."""
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / "000000010000000000000002").write_bytes(b"a" * 1000)
    archive = tmp_path / "archive"
    archive.mkdir()
    (tmp_path / "pointer").write_text(f"{archive}\n")
    written = tmp_path / "pg_wal" / NAME
    written.write_bytes(b"b" * 1000)
    return written


def keep(wal):
    return wal_segment.main(["keep", str(wal.parents[1] / "pointer"), str(wal), NAME])


def fetch(wal, *folders):
    target = wal.parents[1] / "fetched"
    code = wal_segment.main(
        ["fetch", NAME, str(target), *(str(wal.parents[1] / f) for f in folders)]
    )
    return code, target.read_bytes() if code == wal_segment.DONE else b""


def test_a_segment_comes_back_as_it_was_kept_also_when_it_is_asked_for_twice(wal):
    assert [keep(wal), keep(wal)] == [wal_segment.DONE] * 2
    assert fetch(wal, "nowhere", "archive") == (wal_segment.DONE, b"b" * 1000)
    assert fetch(wal, "pg_wal") == (wal_segment.DONE, b"b" * 1000)
    assert fetch(wal, "nowhere") == (wal_segment.NOT_HERE, b"")


def test_another_history_is_never_written_over_this_one(wal, capsys):
    keep(wal)
    wal.write_bytes(b"c" * 1000)

    assert keep(wal) == wal_segment.NOT_NOW
    assert "holds something else" in capsys.readouterr().err
    assert fetch(wal, "archive") == (wal_segment.DONE, b"b" * 1000)


def test_what_is_damaged_stops_a_recovery_instead_of_ending_it(wal, capsys):
    keep(wal)
    (packed,) = wal.parents[1].glob(f"archive/{NAME}*")
    packed.write_bytes(gzip.compress(b"b" * 1000)[:-9])

    assert fetch(wal, "archive") == (wal_segment.DAMAGED, b"")
    assert "is damaged" in capsys.readouterr().err


def test_archiving_waits_for_its_disk_until_too_much_waits_then_ends_and_says_so(
    wal, capsys, monkeypatch
):
    monkeypatch.setattr(wal_segment, "WAITING_BYTES_MAX", 2000)
    pointer, archive = wal.parents[1] / "pointer", wal.parents[1] / "archive"
    archive.rmdir()

    assert (keep(wal), pointer.exists()) == (wal_segment.NOT_NOW, True)
    (wal.parent / "000000010000000000000004").write_bytes(b"d")
    assert (keep(wal), pointer.exists()) == (wal_segment.DONE, False)
    assert "archiving ends here" in capsys.readouterr().err
    assert keep(wal) == wal_segment.DONE
    assert not archive.exists()
