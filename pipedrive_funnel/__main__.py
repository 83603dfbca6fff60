"""The commands beside SQLMesh's own: `python -m pipedrive_funnel --help`."""

from __future__ import annotations

import argparse
import io
import os
import sys

from pipedrive_funnel import show
from pipedrive_funnel.export import check
from pipedrive_funnel.insights import command as insights
from pipedrive_funnel.landing import command as land
from pipedrive_funnel.landing import refresh


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):  # texts of an export may have any character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="python -m pipedrive_funnel", description="Commands of the Pipedrive sales funnel."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (check, land, refresh, show, insights):
        module.add_command(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
