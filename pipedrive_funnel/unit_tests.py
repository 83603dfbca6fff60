"""The unit tests of a plan's models: those that have not passed before, on all cores.

What a test says depends on its file, on the version of its model, and on those above it, whose
columns give the test its types. When all are the same, and SQLMesh and DuckDB as well, a test that
has passed passes. So `make prod` does not repeat what `make dev` has shown, and after an edit the
tests of what was edited run. Tests whose rows are in another file (`path:`) always do.
"""

from __future__ import annotations

import os
import re
import threading
import time
import typing as t
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from concurrent.futures.process import BrokenProcessPool

if t.TYPE_CHECKING:
    from sqlmesh.core.context import Context
    from sqlmesh.core.snapshot import Snapshot

MAX_PROCESSES = 4  # more save little


class UnitTests:
    """The unit tests of some versions of models.

    What has passed is noted on this machine, in SQLMesh's cache: `sqlmesh clean` forgets it.

    Attributes:
        untested: the names of the models whose tests have not passed yet, those with most first.

    """

    def __init__(self, context: Context, snapshots: Iterable[Snapshot]) -> None:
        """Find the tests, and look up which have passed.

        Args:
            context: with the unit tests of the project.
            snapshots: the versions.

        """
        from sqlmesh.core.dialect import normalize_model_name
        from sqlmesh.utils.cache import FileCache

        self._context = context
        self._counts: Counter[str] = Counter()
        files = defaultdict(set)
        for test in context.select_tests():
            model = normalize_model_name(
                test.model_name, context.default_catalog, context.default_dialect
            )
            self._counts[model] += 1
            files[model].add(test.path)
        self._cache: FileCache[bool] = FileCache(context.cache_dir, prefix="passed_unit_tests")
        self._keys = {
            snapshot.name: _key(
                snapshot, [file.read_text() for file in sorted(files[snapshot.name])]
            )
            for snapshot in snapshots
            if snapshot.name in files
        }
        self.untested = sorted(
            (
                name
                for name, key in self._keys.items()
                if not (key and self._cache.exists(name, key))
            ),
            key=lambda name: (-self._counts[name], name),
        )

    def count(self) -> int:
        """Return how many there are."""
        return sum(self._counts[name] for name in self._keys)

    def pass_all(self) -> bool:
        """Run those that have not passed yet, and note that they have; show those that fail."""
        processes = min(_processes(), len(self.untested))
        failed = failing_models(self._context, self.untested, processes)
        if failed and not self._context.test(model_names=failed).wasSuccessful():
            return False
        for name in self.untested:
            if key := self._keys[name]:
                self._cache.put(name, key, value=True)
        return True


def failing_models(context: Context, names: Collection[str], processes: int) -> Collection[str]:
    """Return those of some models of which a unit test fails, or all when that is not known.

    Args:
        context: with the unit tests of the project. It stays as it is, unlike after SQLMesh's own.
        names: names of models.
        processes: how many to fork; with one, nothing is tried, and all are returned.

    """
    from sqlmesh.utils.process import create_process_pool_executor

    if processes <= 1:
        return names
    try:
        with create_process_pool_executor(_inherit, (context,), processes) as pool:
            passed = list(pool.map(_passes, names))
    except BrokenProcessPool:  # one was killed, for want of memory perhaps
        return names
    return [name for name, has_passed in zip(names, passed, strict=True) if not has_passed]


def _key(snapshot: Snapshot, texts: list[str]) -> str | None:
    """Identify all that the outcome of a model's unit tests depends on; None where that is more."""
    import duckdb
    from sqlmesh.utils.hashing import md5

    if any(re.search(r"\bpath\s*:", text) for text in texts):
        return None
    fingerprint = snapshot.fingerprint  # of data: descriptions and audits are not in it
    versions = [fingerprint.data_hash, fingerprint.parent_data_hash, duckdb.__version__]
    return md5(versions + texts)


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
    """Tell whether the unit tests of a model pass."""
    return _inherited.test(model_names=[name]).wasSuccessful()
