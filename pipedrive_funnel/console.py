"""The output of a plan or run: the changed models, a line of progress, and the failures.

Plain `sqlmesh plan` keeps SQLMesh's own output. Warnings of audits are left out here: the summary
lists them with their meaning.
"""

from __future__ import annotations

import itertools
import os
import re
import time
import typing as t
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.syntax import Syntax
from sqlmesh.core.console import NoopConsole
from sqlmesh.utils.errors import AuditError, NodeAuditsErrors

from pipedrive_funnel.differences import ELLIPSIS, changes
from pipedrive_funnel.errors import lost_connection
from pipedrive_funnel.terminal import console, say, say_command

if t.TYPE_CHECKING:
    import pandas as pd
    from sqlmesh.core.context_diff import ContextDiff
    from sqlmesh.core.linter.rule import RuleViolation
    from sqlmesh.core.model import Model
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.snapshot import Snapshot
    from sqlmesh.core.test import ModelTextTestResult
    from sqlmesh.utils.concurrency import NodeExecutionFailedError

NAMES_LISTED = 4  # of new, removed and equally changed models; the others are counted
DIFF_LINES = 60  # of one change; git diff has the rest
ROWS_SHOWN = 3  # of those that an audit returned
_AUDIT_WARNING = re.compile(r"'\w+' audit error: \d+ rows? failed")  # SQLMesh's wording


class FunnelConsole(NoopConsole):
    """SQLMesh's console for our own commands.

    Attributes:
        built: how many tables and views the last plan or run has built.
        has_published: whether the last plan has begun to point views at new tables.
        failures: what went wrong, in a line each; it has been printed, with more.
        option: the option with which `sqlmesh` reaches the same database.

    """

    def __init__(self, project: Path, fetch: Callable[[str], pd.DataFrame]) -> None:
        """Set up the console; paths are printed relative to the project.

        Args:
            project: the directory of config.yaml.
            fetch: returns the rows of a query.

        """
        self.built = 0
        self.has_published = False
        self.failures: list[str] = []
        self._project = project
        self._fetch = fetch
        self.option = ""
        self._progress: Progress | None = None
        self._new_versions: set[str] = set()  # names of snapshots not yet shown by the environment
        self._skipped = 0
        self._started = 0.0

    # --- changes ----------------------------------------------------------------------------------

    def show_changes(self, plan: Plan) -> None:
        """Show how the models differ from those of the environment."""
        diff = plan.context_diff
        self.has_published = False
        self._new_versions = {
            diff.snapshots[key].name for key in plan.context_diff.unpromoted_models
        }
        if diff.is_new_environment:
            base = f", made from {diff.create_from}" if diff.create_from_env_exists else ""
            say(f"{diff.environment} is new{base}: {_models(len(diff.snapshots))}.")
        elif not diff.has_snapshot_changes:
            say(f"No model has changed since {diff.environment} was built.")
        if diff.is_new_environment and not diff.create_from_env_exists:
            return
        _say_names("new", [key.name for key in diff.added])
        _say_names("removed", [key.name for key in diff.removed_snapshots])
        self._show_diffs(diff)

    def _show_diffs(self, diff: ContextDiff) -> None:
        """Show each distinct change once, and count the models that only read changed ones."""
        names_by_change: dict[tuple[str, ...], list[str]] = defaultdict(list)
        shown: dict[tuple[str, ...], list[str]] = {}
        files, followers = [], 0
        for name, (new, old) in sorted(diff.modified_snapshots.items()):
            found = changes(old.node, new.node, console.width)
            for lines in found:
                key = tuple(line for line in lines if line[0] in "+-")
                names_by_change[key].append(name)
                shown.setdefault(key, lines)
            if not found and diff.directly_modified(name):
                files.append(name)
            followers += not found and not diff.directly_modified(name)
        _say_names("changed", files)
        for names, keys in itertools.groupby(names_by_change, names_by_change.__getitem__):
            _say_names("changed", names)
            lines = f"\n {ELLIPSIS}\n".join("\n".join(shown[key]) for key in keys).splitlines()
            console.print(Syntax("\n".join(lines[:DIFF_LINES]), "diff", theme="ansi_dark"))
            if len(lines) > DIFF_LINES:
                say(f"... and {len(lines) - DIFF_LINES} more lines: git diff", indent=2)
        if followers:
            say(f"{_models(followers)} change with what they read.")

    # --- progress ---------------------------------------------------------------------------------

    def _start(self, task: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._progress.add_task(task, total=total)
        self._progress.start()

    def _advance(self) -> None:
        if self._progress:
            self._progress.advance(self._progress.task_ids[0])

    def _stop(self) -> None:
        if self._progress:
            self._progress.stop()
        self._progress = None

    def start_creation_progress(self, snapshots: list[Snapshot], *_: t.Any, **__: t.Any) -> None:
        """Begin to create empty tables."""
        self._start("Creating tables", len(snapshots))

    def update_creation_progress(self, *_: t.Any, **__: t.Any) -> None:
        """Note that a table was created."""
        self._advance()

    def stop_creation_progress(self, success: bool = True) -> None:
        """End the creation of tables."""
        self._stop()

    def start_evaluation_progress(
        self, batched_intervals: dict[Snapshot, t.Any], *_: t.Any, **__: t.Any
    ) -> None:
        """Begin to fill tables and to audit them."""
        self.built = 0
        self._started = time.monotonic()
        self._start("Building", sum(map(len, batched_intervals.values())))

    def update_snapshot_evaluation_progress(
        self,
        snapshot: Snapshot,
        interval: t.Any,
        batch_idx: int,
        duration_ms: int | None,
        *_: t.Any,
        **__: t.Any,
    ) -> None:
        """Note that a table was filled and audited, or has failed if it has no duration."""
        self.built += duration_ms is not None
        self._advance()

    def stop_evaluation_progress(self, success: bool = True) -> None:
        """End the building of tables."""
        self._stop()
        if self.built:
            seconds = time.monotonic() - self._started
            tables = "1 table or view" if self.built == 1 else f"{self.built} tables and views"
            say(f"Built and audited {tables} in {seconds:.0f} s.")

    def start_promotion_progress(self, snapshots: list[t.Any], *_: t.Any, **__: t.Any) -> None:
        """Begin to point the views of the environment at its tables."""
        self.has_published = True
        self._start("Publishing", len(snapshots))

    def update_promotion_progress(self, *_: t.Any, **__: t.Any) -> None:
        """Note that a view points at its table."""
        self._advance()

    def stop_promotion_progress(self, success: bool = True) -> None:
        """End the publishing."""
        self._stop()

    def log_status_update(self, message: str) -> None:
        """Say what a plan or run waits for."""
        say(message)

    # --- what goes wrong --------------------------------------------------------------------------

    def log_test_results(self, result: ModelTextTestResult, target_dialect: str) -> None:
        """Show the unit tests that fail."""
        if result.wasSuccessful():
            return
        failed = [*result.failures, *result.errors]
        for test, text in failed:
            say(f"\nUnit test fails: {test}", style="red")
            say(text.strip(), indent=2)
        for tables in result.failure_tables:
            for table in tables:
                console.print(table)
        self.failures.append(f"{len(failed)} of {result.testsRun} unit tests fail.")
        say(f"\n{self.failures[-1]}", style="red")

    def show_linter_violations(
        self, violations: list[RuleViolation], model: Model, is_error: bool = False
    ) -> None:
        """Show where a model breaks a rule."""
        path = model._path and Path(os.path.relpath(model._path, self._project))
        for violation in violations:
            place = violation.violation_range
            line = f", line {place.start.line + 1}" if place else ""
            say(f"{path}{line}: {violation.violation_msg} ({violation.rule.name})", style="red")
            if is_error:
                self.failures.append(f"{path}{line}: {violation.rule.name}")

    def log_skipped_models(self, snapshot_names: set[str]) -> None:
        """Count the models downstream of a failed one; `log_failed_models` comes next."""
        self._skipped = len(snapshot_names)

    def log_failed_models(self, errors: list[NodeExecutionFailedError]) -> None:
        """Show the models that could not be built, and the rows that an audit found."""
        losses = list(filter(None, map(lost_connection, errors)))
        if losses:  # no model is to blame, and those that were at work say the same
            self.failures.append(losses[0])
            say(f"\n{losses[0]}", style="red")
        for error in errors:
            name = getattr(error.node, "snapshot_name", None) or getattr(error.node, "name", "")
            if isinstance(error.__cause__, NodeAuditsErrors):
                for failure in error.__cause__.errors:
                    self._show_failure(name, failure)
            elif not lost_connection(error):
                reason = str(error.__cause__ or error).strip()
                self.failures.append(f"Failed: {_short(name)}: {reason}")
                say(f"\nFailed: {_short(name)}", style="red")
                say(reason, indent=2)
        if self._skipped:
            say(f"{_models(self._skipped)} below were not built.")

    def _show_failure(self, name: str, failure: AuditError) -> None:
        """Show a blocking audit: its meaning, the first rows it returned and the query for all."""
        rows = f"{failure.count:,} row{'' if failure.count == 1 else 's'}"
        self.failures.append(f"Blocked: {_short(name)} has {rows} against {failure.audit_name}.")
        say(f"\n{self.failures[-1]}", style="red")
        for comment in failure.query.comments or []:
            say(comment.strip(), indent=2)
        model = failure.model
        if name not in self._new_versions and model and not model.kind.is_view:
            say("Its table is one that is shown already, and has the rows now.", indent=2)
        for row in self._rows(failure):
            say(row, indent=4)
        path = self._project / "logs" / f"{failure.audit_name}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(failure.sql(pretty=True, comments=False) + "\n", encoding="utf-8")
        say("All of them:", indent=2)
        say_command(
            f'COLUMNS=300 .venv/bin/sqlmesh{self.option} fetchdf "$(cat logs/{path.name})"',
            indent=4,
        )

    def _rows(self, failure: AuditError) -> Iterable[str]:
        """Yield the first rows that an audit returned, as text."""
        try:
            found = self._fetch(failure.sql(comments=False)).head(ROWS_SHOWN)
        except Exception as error:  # the rows are extra, and must not hide that the audit failed
            yield f"(they cannot be read now: {error})"
            return
        for row in found.itertuples(index=False):
            yield ", ".join(f"{key} {value}" for key, value in row._asdict().items())

    def log_error(self, message: str) -> None:
        """Show an error of SQLMesh."""
        say(message, style="red")

    def log_warning(self, short_message: str, long_message: str | None = None) -> None:
        """Show a warning of SQLMesh unless an audit gave it; the log has all warnings."""
        super().log_warning(short_message, long_message)
        if not _AUDIT_WARNING.search(short_message):
            say(short_message.strip(), style="yellow")

    def log_destructive_change(self, snapshot_name: str, *_: t.Any, **__: t.Any) -> None:
        """Say that a table loses columns."""
        say(f"{_short(snapshot_name)} loses columns.", style="yellow")


def _say_names(what: str, names: Collection[str]) -> None:
    """Say which models are new, removed or changed."""
    if names:
        listed = sorted(map(_short, names))
        more = len(listed) - NAMES_LISTED
        text = ", ".join(listed[:NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")
        say(f"{what.capitalize()}: {text}")


def _short(name: str) -> str:
    """Return the name of a model without quotes and catalog."""
    return ".".join(name.replace('"', "").split(".")[-2:])


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
