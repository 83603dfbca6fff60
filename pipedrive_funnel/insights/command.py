"""Write the page that says what the marts hold, with plots: docs/insights.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipedrive_funnel import PROJECT, show
from pipedrive_funnel.insights.queries import MARTS, Marts
from pipedrive_funnel.insights.text import counted


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `insights` to the command line."""
    command = commands.add_parser(
        "insights", help="write what the marts say to docs/insights.md", description=__doc__
    )
    command.add_argument("environment", nargs="?", default="dev", help="dev (default) or prod, ...")
    command.add_argument("--gateway", help="gateway of config.yaml; its default unless told")
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write, docs/insights.md unless told; plots go to a directory of its name",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page and its plots. Return 1, and say why, when that cannot be done."""
    from pipedrive_funnel.insights.page import write_page  # matplotlib takes a second

    out: Path = options.out or PROJECT / "docs" / "insights.md"
    try:
        with show.open_funnel(options.environment, options.gateway, MARTS) as (context, schema):
            page, plots = write_page(Marts(context.engine_adapter, schema), out.stem)
        files = {out: page} | {out.with_suffix("") / name: plot for name, plot in plots.items()}
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except show.FunnelError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The page cannot be written: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {out} and {counted(len(plots), 'plot')}.")
    return 0
