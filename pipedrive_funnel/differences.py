"""The differences between two versions of a model: its text, and the texts of its audits."""

from __future__ import annotations

import itertools
import os.path
import typing as t
from difflib import unified_diff

if t.TYPE_CHECKING:
    from sqlmesh.core.model import Model

CONTEXT = 1  # unchanged lines around a change
ELLIPSIS = "..."


def changes(old: Model, new: Model, width: int) -> list[list[str]]:
    """Return the changes of a model, each as lines of a diff; none if the text is the same.

    A line that is too long is cut to the part that has changed. SQLMesh keeps each value that
    macros read on one line: cut at its end, a changed line would look unchanged.

    Args:
        old: the model as it was.
        new: the model as it is.
        width: of the terminal.

    """
    diff = itertools.islice(unified_diff(_text(old), _text(new), n=CONTEXT, lineterm=""), 2, None)
    found: list[list[str]] = []
    for sign, group in itertools.groupby(diff, lambda line: line[:1]):
        if sign == "@":  # the line numbers belong to no file
            found.append([])
        elif sign == "+" and found[-1] and found[-1][-1].startswith("-"):
            found[-1] = _paired(found[-1], list(group), width)
        else:
            found[-1] += group
    return [[_shortened(line, width) for line in lines] for lines in found]


def _shortened(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - len(ELLIPSIS)] + ELLIPSIS


def _text(model: Model) -> list[str]:
    """Return the lines of a model and of its audits, including the audits' defaults."""
    expressions = list(model.render_definition())
    lines = [line for part in expressions for line in part.sql("postgres", pretty=True).split("\n")]
    for name, audit in sorted(model.audit_definitions.items()):
        lines += [f"AUDIT {name}", *(f"{key} = {value}" for key, value in audit.defaults.items())]
        lines += audit.query.sql("postgres", pretty=True, comments=False).split("\n")
    return lines


def _paired(lines: list[str], added: list[str], width: int) -> list[str]:
    """Append added lines to those that they replace; long lines are cut to the differing part."""
    removed = list(itertools.takewhile(lambda line: line[0] == "-", reversed(lines)))[::-1]
    kept = lines[: len(lines) - len(removed)]
    pairs = [_cut(before, after, width) for before, after in zip(removed, added, strict=False)]
    common = len(pairs)
    return [
        *kept,
        *(before for before, _ in pairs),
        *removed[common:],
        *(after for _, after in pairs),
        *added[common:],
    ]


def _cut(before: str, after: str, width: int) -> tuple[str, str]:
    """Cut two long lines to the part in which they begin to differ."""
    if max(len(before), len(after)) <= width:
        return before, after
    same = len(os.path.commonprefix([before[1:], after[1:]]))
    start = max(0, same - width // 2)
    if not start:
        return before, after
    return tuple(f"{line[0]}{ELLIPSIS}{line[1 + start :]}" for line in (before, after))
