"""What the files of a history say, and what is said of lines that cannot be used."""

import shutil
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.tools.lab.demo.csv_lines import Unusable
from cbs.tools.lab.demo.history import (
    CASH,
    CLEARING,
    FEES,
    INTEREST,
    SUSPENSE,
    BadLine,
    birth_of,
    day_of,
    purpose_of,
    read_history,
)

SMALL = Path(__file__).parent / "small"


@pytest.mark.parametrize(
    ("birth_number", "on", "is_woman"),
    [
        ("706213", date(1970, 12, 13), True),
        ("450204", date(1945, 2, 4), False),
        ("005101", date(1900, 1, 1), True),
    ],
)
def test_a_birth_number_says_when_and_whether_a_woman(birth_number, on, is_woman):
    assert birth_of(birth_number) == (on, is_woman)


@given(st.dates(date(1900, 1, 1), date(1999, 12, 31)), st.booleans())
def test_every_birth_number_is_read_as_it_was_made(on, is_woman):
    made = f"{on:%y}{on.month + 50 * is_woman:02}{on:%d}"
    assert birth_of(made) == (on, is_woman)


@given(st.text(max_size=8))
def test_a_text_is_a_day_or_a_bad_line(text):
    with suppress(BadLine):
        assert f"{day_of(text):%y%m%d}" == text


@pytest.mark.parametrize("text", ["", "96010", "9601011", "960230", "961301", "96010a", "٩٦٠١٠١"])
def test_these_are_no_days(text):
    with pytest.raises(BadLine):
        day_of(text)


@pytest.mark.parametrize("text", ["", "705", "705013", "706313", "70aa13"])
def test_these_are_no_birth_numbers(text):
    with pytest.raises(BadLine):
        birth_of(text)


@pytest.mark.parametrize(
    ("k_symbol", "operation", "is_credit", "kind", "counter_account"),
    [
        ("", "credit in cash", True, "cash-deposit", CASH),
        ("household", "withdrawal in cash", False, "cash-withdrawal", CASH),
        ("payment for statement", "withdrawal in cash", False, "fee", FEES),
        (
            "sanction interest if negative balance",
            "withdrawal in cash",
            False,
            "sanction-interest",
            FEES,
        ),
        ("interest credited", "", True, "interest", INTEREST),
        ("household", "remittance to another bank", False, "remittance", CLEARING),
        ("old age pension", "collection from another bank", True, "collection", CLEARING),
        ("", "credit card withdrawal", False, "card-withdrawal", CLEARING),
        ("UROK", "", True, "interest", INTEREST),
        ("SIPO", "PREVOD NA UCET", False, "remittance", CLEARING),
        ("", "", True, "unclassified", SUSPENSE),
        ("", "credit in cash", False, "unclassified", SUSPENSE),
    ],
)
def test_what_an_entry_is_for_says_where_its_other_side_is(
    k_symbol, operation, is_credit, kind, counter_account
):
    assert purpose_of(k_symbol, operation, is_credit=is_credit) == (kind, counter_account)


def test_bad_lines_are_told_with_file_line_and_reason_and_the_others_are_read():
    history = read_history(SMALL)

    assert [(bad.file, bad.line, bad.reason) for bad in history.bad] == [
        ("client.csv", 6, "not a birth_number: '709931'"),
        ("disp.csv", 7, "unknown client 15"),
        ("account.csv", 6, "account 105 has no owner"),
        ("trans.csv", 6, "duplicate trans_id 1004"),
        ("trans.csv", 9, "not a date (YYMMDD): '960230'"),
        ("trans.csv", 15, "amount: not a decimal amount: '12,50'"),
        ("trans.csv", 18, "unknown account 999"),
        ("trans.csv", 19, "7 columns instead of 10"),
        ("trans.csv", 20, "unknown type 'gift'"),
        ("trans.csv", 23, "amount is below zero: '-5.00'"),
    ]
    assert {account.id: len(account.entries) for account in history.accounts.values()} == {
        101: 7,
        102: 6,
        103: 3,
        104: 0,
    }
    assert history.accounts[101].owner.birth == (date(1970, 12, 13), True)
    assert history.accounts[101].entries[1].narrative == (
        "collection from another bank, old age pension, AB 79838293"
    )


@pytest.mark.parametrize("name", ["account.csv", "client.csv", "disp.csv", "trans.csv"])
def test_a_folder_without_one_of_the_files_is_no_history(tmp_path, name):
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(Unusable, match=name):
        read_history(tmp_path)


def test_a_file_without_one_of_the_columns_is_no_history(tmp_path):
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    trans = tmp_path / "trans.csv"
    trans.write_text(trans.read_text().replace(";balance;", ";saldo;"))
    with pytest.raises(Unusable, match=r"trans\.csv has no column balance"):
        read_history(tmp_path)


@given(st.dates(date(1993, 1, 1), date(1998, 12, 31)), st.integers(0, 10**12))
def test_quotes_spaces_and_windows_line_ends_say_the_same(tmp_path_factory, on, minor):
    folder = tmp_path_factory.mktemp("quoted")
    shutil.copytree(SMALL, folder, dirs_exist_ok=True)
    amount = f"{minor // 100}.{minor % 100:02}"
    line = f'7;101;"{on + timedelta(days=0):%y%m%d}";"PRIJEM";"VKLAD";{amount};{amount}; ;;'
    head = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance"'
    (folder / "trans.csv").write_text(f'{head};"k_symbol";"bank";"account"\r\n{line}\r\n\r\n')

    (entry,) = read_history(folder).accounts[101].entries

    assert (entry.on, entry.amount_minor, entry.balance_minor) == (on, minor, minor)
    assert entry.purpose == ("cash-deposit", CASH)
    assert entry.narrative == "VKLAD"


def written(folder, text, encoding="utf-8"):
    shutil.copytree(SMALL, folder, dirs_exist_ok=True)
    (folder / "trans.csv").write_bytes(text.encode(encoding))
    return folder


HEAD = "trans_id;account_id;date;type;operation;amount;balance;k_symbol;bank;account"
ONE = "7;101;950324;credit;credit in cash;1.00;1.00;\u017eivot;;"


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_delimiters_line_ends_and_marks_of_the_byte_order_say_the_same(
    tmp_path, delimiter, ends, encoding
):
    text = ends.join([HEAD, ONE, ""]).replace(";", delimiter)

    (entry,) = read_history(written(tmp_path, text, encoding)).accounts[101].entries

    assert (entry.id, entry.narrative) == (7, "credit in cash, \u017eivot")


def test_what_is_quoted_may_hold_a_delimiter_a_quote_and_an_end_of_line(tmp_path):
    quoted = ONE.replace("\u017eivot", '"a;b ""c"" d"')

    (entry,) = read_history(written(tmp_path, f"{HEAD}\n{quoted}\n")).accounts[101].entries

    assert entry.narrative == 'credit in cash, a;b "c" d'


def test_a_quote_that_nobody_closes_is_told_and_swallows_nothing_in_silence(tmp_path):
    broken = ONE.replace("\u017eivot", '"never')

    history = read_history(written(tmp_path, f"{HEAD}\n{broken}\n{ONE}\n"))

    assert [bad.reason for bad in history.bad if bad.file == "trans.csv"] == [
        "not CSV: unexpected end of data"
    ]


def test_an_encoding_is_told_and_never_guessed(tmp_path):
    folder = written(tmp_path, f"{HEAD}\n{ONE}\n", "cp1250")

    with pytest.raises(Unusable, match=r"trans\.csv is not utf-8 .*--encoding"):
        read_history(folder)
    (entry,) = read_history(folder, "cp1250").accounts[101].entries
    assert entry.narrative.endswith("\u017eivot")
    with pytest.raises(Unusable, match="no such encoding"):
        read_history(folder, "nonsense")
