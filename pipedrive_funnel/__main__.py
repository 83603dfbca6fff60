"""The project's own commands, besides SQLMesh's: `python -m pipedrive_funnel --help`."""

import sys

from pipedrive_funnel.cli import main

if __name__ == "__main__":
    sys.exit(main())
