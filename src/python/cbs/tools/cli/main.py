"""The `cbs` command: each of its words is one line here, whichever module does the work.

A module is imported when one of its words is asked for: all of them together take a second.
"""

import sys
from importlib import import_module

import typer
from typer.main import get_command_name

WORDS = {
    "up": "local.commands:up",
    "down": "local.commands:down",
    "status": "local.status:status",
    "logs": "local.status:logs",
    "reset": "local.commands:reset",
    "demo": "lab.demo.demo:demo",
    "verify": "ops.verify.verify:verify",
    "outdated": "ops.outdated:outdated",
    "backup": "ops.backup.backup:backup",
    "restore": "ops.backup.restore:restore",
    "bench": "lab.bench.bench:bench",
    "overload": "lab.bench.overload:overload",
    "soak": "lab.bench.soak:soak",
    "chaos": "lab.chaos.chaos:chaos",
    "simulate": "lab.simulate:simulate",
    "cluster": "cluster.commands:app",
    "cluster tools": "cluster.programs:tools",
    "cluster artifacts": "cluster.programs:gather",
    "cluster run": "cluster.run_job:run",
    "cluster values": "cluster.run_job:values",
    "contracts": "release.contracts:app",
    "contracts verify": "release.builds:verify",
    "contracts verify-at": "release.builds:verify_at",
    "release": "release.commands:app",
    "release review": "release.review:review",
    "release deploy": "release.deploy.commands:deploy",
    "release rollback": "release.deploy.commands:rollback",
    "release history": "release.deploy.reports:history",
    "release diff": "release.deploy.reports:diff",
    "release dora": "release.deploy.reports:metrics",
    "release publish": "release.publish:publish",
    "release catch-up": "release.catch_up:catch_up",
    "images": "images.commands:app",
    "dead-letters": "ops.dead_letters:app",
}
HIDDEN = {"contracts verify-at"}


def app_of(*arguments: str) -> typer.Typer:
    """The commands that these arguments can mean; without any, all of them."""
    app = typer.Typer(
        name="cbs",
        help="A bank on this machine. Exit codes: 0 done, 1 no, 2 wrong usage, 3 cannot say.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_one_command_is_still_a_group)
    asked = arguments[:2] if arguments[0:1] and arguments[0] in WORDS else ()
    groups = {"": app}
    for words, place in WORDS.items():
        if not _can_mean(asked, words.split()):
            continue
        module, name = place.split(":")
        found = getattr(import_module(f"cbs.tools.{module}"), name)
        group, _, word = words.rpartition(" ")
        if isinstance(found, typer.Typer):
            groups[group].add_typer(found, name=word)
            groups[words] = found
        else:
            groups[group].command(word, hidden=words in HIDDEN)(found)
    if len(asked) > 1 and not _knows(groups.get(asked[0]), asked[1]):
        return app_of(asked[0])  # all that it has, of which one may be meant
    return app


def _knows(group: typer.Typer | None, word: str) -> bool:
    """Of what is no group every word is an argument of the command's."""
    names = [
        each.name or get_command_name(each.callback.__name__)
        for each in (group.registered_commands if group else ())
        if each.callback
    ]
    return group is None or word.startswith("-") or word in names


def _can_mean(asked: tuple[str, ...], words: list[str]) -> bool:
    said = [word for word in asked if not word.startswith("-")]
    return all(a == b for a, b in zip(said, words, strict=False))


def _one_command_is_still_a_group() -> None:
    pass


def main() -> None:
    """Exits."""
    app_of(*sys.argv[1:])(prog_name="cbs")
