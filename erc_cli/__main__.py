"""`python -m erc_cli` is `erc`."""

import sys

if __name__ == "__main__":
    try:
        from erc_cli.main import main
    except KeyboardInterrupt:  # before there is anything to tidy up
        exec("")  # see main._interrupted
        sys.exit(130)
    main()
