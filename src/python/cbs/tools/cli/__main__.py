"""`python -m cbs.tools.cli` is `./cbs`."""

from cbs.tools.cli.main import main

if __name__ == "__main__":
    main()
