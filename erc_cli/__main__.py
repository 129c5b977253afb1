"""`python -m erc_cli` is `erc`."""

from erc_cli.main import main

if __name__ == "__main__":
    main()
