"""`python -m cbs.tools.local up`: a bank for other tools, without all else that `cbs` can do."""

import typer

from cbs.tools.local import commands

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("up")(commands.up)
app.command("down")(commands.down)

if __name__ == "__main__":
    app(prog_name="cbs")
