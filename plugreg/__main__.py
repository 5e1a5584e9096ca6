"""The command line as a module: ``python -m plugreg``."""

from plugreg.cli import main

if __name__ == "__main__":
    main()
