"""The unit tests of a plan's models: those that have not passed before, on all cores.

What a test says depends on its text, on the version of its model, and on those above it, whose
columns give the test its types. When all are the same, and SQLMesh, DuckDB and its settings as
well, a test that has passed passes. So `make prod` does not repeat what `make dev` has shown, and
after an edit the tests of what was edited run. Tests whose rows are in another file, and those of
no model, always do.
"""

from __future__ import annotations

import copy
import json
import os
import threading
import time
import typing as t
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

from pipedrive_funnel.terminal import say

if t.TYPE_CHECKING:
    from sqlmesh.core.context import Context
    from sqlmesh.core.snapshot import Snapshot
    from sqlmesh.core.test.discovery import ModelTestMetadata

MAX_PROCESSES = 4  # more save little


class UnitTests:
    """The unit tests of a project.

    What has passed is noted on this machine, in SQLMesh's cache: `sqlmesh clean` forgets it.

    Attributes:
        count: how many there are.
        untested: those that have not passed yet, by the names that SQLMesh selects them by.

    """

    def __init__(self, context: Context, snapshots: Mapping[str, Snapshot]) -> None:
        """Look up which tests have passed.

        Args:
            context: with the unit tests of the project, as its files were when it was loaded.
            snapshots: the versions of the models, by name.

        """
        import duckdb
        from sqlmesh.utils.cache import FileCache

        self._context = context
        settings = (str(context.test_connection_config.dict()), duckdb.__version__)
        self._cache: FileCache[bool] = FileCache(context.cache_dir, prefix="passed_unit_tests")
        keys = {
            test.fully_qualified_test_name: _key(context, snapshots, test, settings)
            for test in context.select_tests()
        }
        self.count = len(keys)
        self._keys = {
            name: key for name, key in keys.items() if not (key and self._cache.exists(key))
        }
        self.untested = list(self._keys)

    def pass_all(self) -> bool:
        """Run those that have not passed yet, note those that pass, and show those that fail."""
        known = [name for name, key in self._keys.items() if key]
        failing = failing_tests(self._context, known, _processes())
        here = failing + [name for name, key in self._keys.items() if not key]
        has_passed = not here or self._run_here(here)
        for name, key in self._keys.items():
            if key and (has_passed or name not in failing):
                self._cache.put(key, value=True)
        return has_passed

    def _run_here(self, names: list[str]) -> bool:
        """Run tests in this process, and show those that fail."""
        # SQLMesh changes the texts of tests that it runs, and could not run them twice
        texts = [(test, copy.deepcopy(test.body)) for test in self._context.select_tests(names)]
        try:
            return self._context.test(tests=names).wasSuccessful()
        finally:
            for test, body in texts:
                test.body.clear()
                test.body.update(body)


def failing_tests(context: Context, names: Sequence[str], processes: int) -> list[str]:
    """Return those of some unit tests that fail, or all when that is not known.

    Args:
        context: with the unit tests of the project. It stays as it is, unlike after SQLMesh's own.
        names: which tests.
        processes: how many to fork; with one, nothing is tried, and all are returned.

    """
    from sqlmesh.utils.process import create_process_pool_executor

    processes = min(processes, len(names))
    if processes <= 1:
        return list(names)
    try:
        with create_process_pool_executor(_inherit, (context,), processes) as pool:
            passed = list(pool.map(_passes, names))
    except BrokenProcessPool:
        say(
            "A process of the unit tests was killed, for want of memory perhaps: once more, in one."
        )
        return list(names)
    return [name for name, has_passed in zip(names, passed, strict=True) if not has_passed]


def _key(
    context: Context,
    snapshots: Mapping[str, Snapshot],
    test: ModelTestMetadata,
    settings: tuple[str, str],
) -> str | None:
    """Identify all that the outcome of a test depends on; None where that is more."""
    from sqlmesh.core.dialect import normalize_model_name
    from sqlmesh.utils.hashing import md5

    if not test.model_name or _reads_files(test.body):
        return None
    name = normalize_model_name(test.model_name, context.default_catalog, context.default_dialect)
    if name not in snapshots:
        return None
    snapshot = snapshots[name]
    return md5(
        [
            snapshot.fingerprint.data_hash,  # descriptions and audits are not in it
            snapshot.fingerprint.parent_data_hash,
            snapshot.model.dialect,
            json.dumps(test.body, default=str),
            *settings,
        ]
    )


def _reads_files(part: t.Any) -> bool:
    """Tell whether rows of a test are in another file."""
    if isinstance(part, dict):
        return "path" in part or any(map(_reads_files, part.values()))
    return isinstance(part, list) and any(map(_reads_files, part))


def _processes() -> int:
    """Return how many processes SQLMesh would fork to read models, up to some number."""
    from sqlmesh.core import constants

    return min(constants.MAX_FORK_WORKERS or os.cpu_count() or 1, MAX_PROCESSES)


_inherited: Context


def _inherit(context: Context) -> None:
    """Take over the context in a forked process, and say nothing there."""
    from sqlmesh.core.console import NoopConsole

    global _inherited  # noqa: PLW0603
    _inherited = context
    _inherited.console = NoopConsole()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent was killed: nobody else would tell it to."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _passes(name: str) -> bool:
    """Tell whether a unit test passes."""
    return _inherited.test(tests=[name]).wasSuccessful()
