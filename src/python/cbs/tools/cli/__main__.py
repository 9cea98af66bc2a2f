"""`python -m cbs.tools.cli` is `./cbs`."""

from cbs.tools.cli.main import app

if __name__ == "__main__":
    app(prog_name="cbs")
