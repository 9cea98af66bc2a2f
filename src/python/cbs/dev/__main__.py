"""`python -m cbs.dev` is `./cbs`."""

from cbs.dev.cli import app

if __name__ == "__main__":
    app(prog_name="cbs")
