"""Output to the terminal: one place to print to, and hints that can be typed as they stand."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich calls this in its `except` block; `main` in cli.py handles the error


console = _Console(highlight=False)


def say(text: str = "", *, label: str = "", indent: int = 0, style: str | None = None) -> None:
    """Print a text, with its lines wrapped to the width of the terminal.

    Args:
        text: one or more lines.
        label: printed before the first line; the other lines are indented to match.
        indent: the number of blanks before each line.
        style: a colour of rich.

    """
    first = " " * indent + label
    for line in text.split("\n"):
        broken = textwrap.fill(
            line,
            max(20, console.width),
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        )
        console.print(broken, style=style, markup=False, soft_wrap=True)
        first = " " * len(first)


def say_command(text: str, *, indent: int = 2) -> None:
    """Print something to type or to open, on one line however narrow the terminal is."""
    console.print(" " * indent + text, markup=False, soft_wrap=True)


def say_next(steps: Sequence[tuple[str, str]], *, at_length: bool = True) -> None:
    """Print the next commands to type and files to open, with their reasons if `at_length`."""
    if not at_length:
        say_command(f"Next: {', '.join(command for command, _ in steps)}", indent=0)
        return
    width = max(len(command) for command, _ in steps)
    say("\nNext:")
    for command, reason in steps:
        say_command(f"{command.ljust(width)}  {reason}")


def numbers(titles: Sequence[str]) -> Table:
    """Return a table without borders: names in the first column, numbers in the others."""
    table = Table.grid(padding=(0, 0, 0, 2))
    for position, _ in enumerate(titles):
        # A number that does not fit is folded: cut off, it would read as another number
        table.add_column(justify="right" if position else "left", overflow="fold")
    table.add_row(*titles)
    return table


def make(target: str, gateway: str | None = None, **variables: str) -> str:
    """Return the command for a target of make; `gateway` is None for the default one."""
    variables = ({"GATEWAY": gateway} if gateway else {}) | variables
    return " ".join(["make", target, *(f"{k}={shlex.quote(v)}" for k, v in variables.items())])


def funnel(command: str, gateway: str | None = None) -> str:
    """Return one of our own commands as typed; `gateway` is None for the default one."""
    option = f" --gateway {shlex.quote(gateway)}" if gateway else ""
    return f".venv/bin/python -m pipedrive_funnel {command}{option}"
