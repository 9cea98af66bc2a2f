"""Histories go through the public HTTP API of real services, and come out as the old bank had them.

CBS_HISTORY_DIR names a folder with a bank's real history to replay; without it, that is skipped.
"""

import asyncio
import json
import os
import shutil
from datetime import date
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cbs.tools.lab.demo.demo import demo
from cbs.tools.lab.demo.history import UNKNOWN, HistoricEntry, read_history
from cbs.tools.lab.demo.replay import OVERDRAFT_STEP_MINOR, overdraft
from cbs.tools.local.public_api import PublicApi

SMALL = Path(__file__).parent / "small"
ALL_SECONDS_MAX = 600

app = typer.Typer()
app.command()(demo)


async def replayed(bank, folder, *more):
    """The command's exit code and what it says to a program, from a thread with its own loop."""
    argv = ["--history", str(folder), "--data", str(bank.folder.root), "--json", *more]
    result = await asyncio.to_thread(CliRunner().invoke, app, argv)
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


@pytest.fixture
def history(tmp_path):
    """A copy of the small history, to be spoiled."""
    return Path(shutil.copytree(SMALL, tmp_path / "history"))


def spoil(history, before, after):
    trans = history / "trans.csv"
    text = trans.read_text()
    assert text.count(before) == 1, before
    trans.write_text(text.replace(before, after))


async def test_a_history_is_replayed_with_its_roundings_and_agrees_to_the_last_heller(bank):
    code, said = await replayed(bank, SMALL)

    # Ten of its lines are left out: that is no success.
    assert code == 1
    assert (said["accounts"], said["transactions"], said["differences"]) == (4, 15, 0)
    assert said["unmoved"] == 1
    assert (said["roundings"], said["roundings_sum_minor"], len(said["bad"])) == (4, 20, 10)
    api = PublicApi.of(bank.folder, "operator")
    found = await api.get("/v1/ledger/accounts?limit=100", dict)
    balances = {account["number"]: account["balance_minor"] for account in found["items"]}
    assert {number: minor for number, minor in balances.items() if number.startswith("CZK")} == {
        "CZK-CASH": -(100_000 - 210_000 + 50_000 + 40_000 - 4_500 + 1_703_040),
        "CZK-CLEARING": -(367_900 - 8_360 - 1_700_000 - 30_000 - 40_010),
        "CZK-FEES": 1_460 + 38_550,
        "CZK-INTEREST": -1_920,
        "CZK-SUSPENSE": -70_000,
    }
    assert sum(balances.values()) == 0
    api.close()


async def test_each_transaction_keeps_its_value_date_and_what_the_old_bank_said_of_it(bank):
    await replayed(bank, SMALL)
    api = PublicApi.of(bank.folder, "operator")
    found = await api.get("/v1/ledger/accounts/CZK-FEES/postings", dict)
    api.close()
    assert {(p["kind"], p["value_on"], p["narrative"]) for p in found["items"]} == {
        ("fee", "1995-05-13", "withdrawal in cash, payment for statement"),
        (
            "sanction-interest",
            "1993-03-31",
            "withdrawal in cash, sanction interest if negative balance",
        ),
    }


async def test_a_second_replay_posts_nothing_and_says_the_same(bank):
    first = await replayed(bank, SMALL)
    before = [await bank.count("ledger", table) for table in ("transaction", "posting", "account")]
    customers = await bank.count("customers", "customer")

    assert await replayed(bank, SMALL) == first

    after = [await bank.count("ledger", table) for table in ("transaction", "posting", "account")]
    assert (after, await bank.count("customers", "customer")) == (before, customers)


async def test_a_history_that_went_on_is_taken_up_where_it_was_left(bank, history):
    trans = history / "trans.csv"
    whole = trans.read_text()
    trans.write_text(whole[: whole.index("1009;")])
    _, part = await replayed(bank, history)
    trans.write_text(whole)

    code, said = await replayed(bank, history)

    assert (part["transactions"], code, said["transactions"]) == (4, 1, 15)
    assert await bank.count("ledger", "transaction") == 15


async def test_a_history_of_which_no_line_is_left_out_is_done(bank, history):
    for bad in read_history(history).bad[::-1]:
        file = history / bad.file
        lines = file.read_text().splitlines(keepends=True)
        del lines[bad.line - 1]
        file.write_text("".join(lines))

    code, said = await replayed(bank, history)

    assert (code, said["bad"], said["differences"], said["transactions"]) == (0, [], 0, 15)


async def test_an_account_that_went_deeper_in_the_red_is_agreed_more(bank, history):
    await replayed(bank, history)
    with (history / "trans.csv").open("a") as file:
        file.write("2008;102;930403;withdrawal;withdrawal in cash;200000.00;-200000.00;;;\n")

    for _ in range(2):
        _, said = await replayed(bank, history)

        assert (said["accounts"], said["differences"], said["transactions"]) == (4, 0, 16)


async def test_a_balance_that_does_not_agree_is_a_difference_and_the_steps_after_it_are_not(
    bank, history
):
    spoil(history, ";17030.40;0.00;", ";17030.40;500.00;")

    code, said = await replayed(bank, history)

    assert (code, said["differences"], said["transactions"]) == (1, 1, 15)
    (difference,) = said["differences_kept"]
    assert (difference["trans_id"], difference["theirs_minor"]) == (2006, 50_000)
    assert difference["ours_minor"] + difference["roundings_minor"] == 0
    assert said["unchained"] == [{"account_id": 102, "on": "1993-04-02"}]


async def test_an_amount_that_changed_after_it_was_posted_is_refused_not_posted_again(
    bank, history
):
    await replayed(bank, history)
    spoil(
        history,
        "3003;103;970709;withdrawal;credit card withdrawal;400.10",
        "3003;103;970709;withdrawal;credit card withdrawal;400.00",
    )

    code, said = await replayed(bank, history)

    assert (code, said["differences"]) == (1, 1)
    assert said["differences_kept"][0]["why"].startswith("key-reused")
    assert await bank.count("ledger", "transaction") == 15


async def test_two_banks_may_have_used_the_same_numbers(bank):
    await replayed(bank, SMALL)
    code, said = await replayed(bank, SMALL, "--bank", "ANOTHER")
    assert (code, said["accounts"], said["transactions"]) == (1, 4, 15)
    assert await bank.count("ledger", "transaction") == 30


async def test_bad_lines_and_differences_are_told_to_people_too(bank, history):
    spoil(history, ";17030.40;0.00;", ";17030.40;500.00;")
    argv = ["--history", str(history), "--data", str(bank.folder.root)]
    result = await asyncio.to_thread(CliRunner().invoke, app, argv)
    assert "trans.csv:6: duplicate trans_id 1004" in result.stdout
    assert "transaction 2006 on 1993-04-02: ours CZK -0.10 + roundings CZK 0.10," in result.stdout
    assert "roundings     4, together CZK 0.20" in result.stdout
    assert "differences   1" in result.stdout


async def test_a_folder_that_is_no_history_is_wrong_usage_and_no_bank_cannot_say(bank, tmp_path):
    assert (await replayed(bank, tmp_path / "nowhere"))[0] == 2
    assert (await replayed(bank, SMALL, "--bank", "small bank"))[0] == 2
    bank.folder.state.unlink()
    code, said = await replayed(bank, SMALL)
    assert (code, "no bank is up" in said) == (3, True)


@given(st.lists(st.integers(-(10**9), 10**9), max_size=20))
def test_an_overdraft_covers_the_lowest_balance_and_little_more(amounts):
    entries = [
        HistoricEntry(
            id=n,
            account_id=1,
            on=date(1996, 1, 1),
            amount_minor=amount,
            balance_minor=0,
            purpose=UNKNOWN,
            narrative="",
        )
        for n, amount in enumerate(amounts)
    ]
    lowest = min([0, *(sum(amounts[:n]) for n in range(len(amounts) + 1))])
    agreed = overdraft(entries)
    assert agreed >= -lowest
    assert agreed == OVERDRAFT_STEP_MINOR or agreed + lowest < OVERDRAFT_STEP_MINOR


@pytest.mark.skipif("CBS_HISTORY_DIR" not in os.environ, reason="CBS_HISTORY_DIR is not set")
@pytest.mark.timeout(ALL_SECONDS_MAX)
async def test_the_real_history_agrees_to_the_last_heller(bank):
    folder = Path(os.environ["CBS_HISTORY_DIR"])
    accounts, lines = (
        len((folder / name).read_text().splitlines()) - 1 for name in ("account.csv", "trans.csv")
    )

    code, said = await replayed(bank, folder)

    assert (code, said["differences"], said["bad"], said["unchained"]) == (0, 0, [], [])
    assert said["transactions"] + said["unmoved"] == lines
    assert said["transactions"] == await bank.count("ledger", "transaction")
    assert said["accounts"] == accounts
