"""The `cbs` command: each of its words is one line here, whichever module does the work."""

import typer

from cbs.dev import commands, watching

app = typer.Typer(
    name="cbs",
    help="A bank on this machine. Exit codes: 0 done, 1 no, 2 wrong usage, 3 cannot say.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(commands.up)
app.command("down")(commands.down)
app.command("status")(watching.status)
app.command("logs")(watching.logs)
app.command("reset")(commands.reset)
