"""`cbs demo`: a bank with customers in it, made up or from a real bank's history."""

import asyncio
import re
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from cbs.kernel.money import Currency, Money
from cbs.tools.lab.demo import trade
from cbs.tools.lab.demo.csv_lines import Unusable
from cbs.tools.lab.demo.history import BankHistory, read_history
from cbs.tools.lab.demo.replay import Difference, Replay, ReplayReport
from cbs.tools.local import command_line
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    DONE,
    NO,
    WRONG_USAGE,
    AsJson,
    Data,
    ends_with,
    print_json,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.progress import counted
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, PublicApi, RefusedByBank
from cbs.tools.ops.verify import verify

CUSTOMERS_MAX, TRANSFERS_MAX = 100_000, 10_000_000
DIFFERENCES_SHOWN_MAX, BAD_SHOWN_MAX = 20, 100
BANK = "PKDD99"
BANK_NAME = re.compile("[A-Z0-9][A-Z0-9-]{1,19}")


def demo(
    data: Data = None,
    customers: Annotated[
        int, typer.Option(min=2, max=CUSTOMERS_MAX, help="How many to make up.")
    ] = 1_000,
    transfers: Annotated[
        int, typer.Option(min=0, max=TRANSFERS_MAX, help="How many between them.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Another one makes another day.")] = 1,
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="DIR", help="Replay a history in PKDD'99's columns."),
    ] = None,
    bank: Annotated[
        str,
        typer.Option(help="The old bank; histories that use the same numbers need two names."),
    ] = BANK,
    encoding: Annotated[
        str, typer.Option(help="That of the history's files, as Python calls it.")
    ] = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Make up new customers who pay each other, and verify; or replay an old bank's history.

    Each run makes customers of its own, unless the last one was interrupted: that is gone on with.
    A history is posted once, however often it is replayed, also one that has grown. Its years of
    two digits are of the 1900s. Exit 0: done, and all agrees. 1: it does not, or a line was left
    out. 2: that is no history. 3: no bank answers.
    """
    console, folder = command_line.console(as_json=as_json), Folder.at(data)
    with (
        ends_with(WRONG_USAGE, Unusable),
        ends_with(NO, RefusedByBank, saying="the bank refuses: "),
        ends_with(CANNOT_SAY, NoBank, NoAnswerFromBank, *verify.UNANSWERED),
    ):
        if history is None:
            code = _traded(folder, console, customers, transfers, seed, as_json)
        else:
            _check_name(bank)
            found = read_history(history, encoding)
            code = _replayed(folder, console, found, bank, as_json)
    raise typer.Exit(code)


def _traded(
    folder: Folder, console: Console, customers: int, transfers: int, seed: int, as_json: bool
) -> int:
    api = PublicApi.of(folder, "teller")
    run, resumed = trade.next_run(folder, seed=seed, customers=customers, transfers=transfers)
    how = "going on with" if resumed else "starting"
    console.print(f"{how} run {run.number}: {customers} new customers, {transfers} transfers")
    summary = trade.Summary(run=run)
    uvloop.run(_trade(api, summary, console))
    trade.finish(folder, run)
    console.print("\n".join(traded_lines(summary)))
    findings = asyncio.run(
        verify.findings(
            verify.places_of(folder),
            say=console.print,
            tell=lambda finding: console.print(verify.line(finding)),
        )
    )
    if as_json:
        print_json({"summary": summary, "verify": findings})
    console.print(
        f"verify: {sum(f.outcome == 'holds' for f in findings)} of {len(findings)} invariants hold"
    )
    return verify.verdict(findings)


async def _trade(api: PublicApi, summary: trade.Summary, console: Console) -> None:
    with closing(api):
        with counted(console, "customers", summary.run.customers) as advance:
            accounts = await trade.onboard(api, summary, advance)
        if len(accounts) > 1:
            with counted(console, "transfers", summary.run.transfers) as advance:
                await trade.pay(api, accounts, summary, advance)
        summary.repeats = api.repeats


def traded_lines(summary: trade.Summary) -> list[str]:
    return [
        f"customers   {summary.customers} with an account and"
        f" {Money(summary.deposited_minor, Currency.INR)} in it, together"
        f"{_counts(summary.turned_away)}",
        f"transfers   {summary.transfers} of {Money(summary.moved_minor, Currency.INR)} together"
        f"{_counts(summary.refused)}",
        f"speed       {summary.transfers_per_second} transfers/s, p50 {summary.p50_ms} ms,"
        f" p99 {summary.p99_ms} ms, {summary.seconds} s, {summary.repeats} requests sent again",
    ]


def _counts(refused: dict[str, int]) -> str:
    said = ", ".join(f"{count} {code}" for code, count in sorted(refused.items()))
    return f"; refused: {said}" if said else ""


def _check_name(bank: str) -> None:
    if not BANK_NAME.fullmatch(bank):
        raise Unusable(f"--bank {bank}: 2 to 20 capital letters, digits and hyphens")


def _replayed(
    folder: Folder, console: Console, history: BankHistory, bank: str, as_json: bool
) -> int:
    api = PublicApi.of(folder, "importer")
    report = uvloop.run(_replay(api, history, bank, console))
    if as_json:
        print_json(report)
    console.print("\n".join(replayed_lines(report)))
    return NO if report.differences or report.bad else DONE


async def _replay(
    api: PublicApi, history: BankHistory, bank: str, console: Console
) -> ReplayReport:
    with closing(api), counted(console, "transactions", history.transactions) as advance:
        return await Replay(api=api, bank=bank, advance=advance)(history)


def replayed_lines(report: ReplayReport) -> list[str]:
    """What the user is told; a bad line with its file, its number and the reason."""
    lines = [f"{bad.file}:{bad.line}: {bad.reason}" for bad in report.bad[:BAD_SHOWN_MAX]]
    if len(report.bad) > BAD_SHOWN_MAX:
        lines.append(f"and {len(report.bad) - BAD_SHOWN_MAX} more bad lines")
    shown = report.differences_kept[:DIFFERENCES_SHOWN_MAX]
    lines += [_difference(difference) for difference in shown]
    if report.differences > len(shown):
        lines.append(f"and {report.differences - len(shown)} more differences")
    unchained = ", ".join(f"{day.on} of account {day.account_id}" for day in report.unchained[:20])
    unmoved = f", and {report.unmoved} of no amount" if report.unmoved else ""
    return [
        *lines,
        f"accounts      {report.accounts}",
        f"transactions  {report.transactions}{unmoved}",
        f"roundings     {report.roundings}, together {_czk(report.roundings_sum_minor)}",
        f"days that do not chain  {len(report.unchained)}{f': {unchained}' if unchained else ''}",
        f"bad lines     {len(report.bad)}",
        f"differences   {report.differences}",
    ]


def _difference(found: Difference) -> str:
    if found.trans_id is None:
        return f"account {found.account_id} is not replayed: {found.why}"
    ours = f"ours {_czk(found.ours_minor)} + roundings {_czk(found.roundings_minor)}"
    return (
        f"account {found.account_id}, transaction {found.trans_id} on {found.on}: {ours},"
        f" theirs {_czk(found.theirs_minor)}{f' ({found.why})' if found.why else ''}"
    )


def _czk(minor: int) -> str:
    return str(Money(minor, Currency.CZK))
