"""SQLMesh's context as our plans and runs use it."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from sqlmesh import Context

if t.TYPE_CHECKING:
    from sqlmesh.core.scheduler import Scheduler
    from sqlmesh.core.snapshot import Snapshot
    from sqlmesh.core.snapshot.evaluator import SnapshotEvaluator


class FunnelContext(Context):
    """A context whose audits find the other models of the plan.

    When only the audits of a model have changed, SQLMesh gives them that model alone, and
    resolves all others to those of prod. An audit that compares two models would then read prod
    in every environment, and fail where there is no prod.

    Attributes:
        planned: the models of the plan that is applied, by name.

    """

    planned: Mapping[str, Snapshot] = {}

    def create_scheduler(
        self, snapshots: Iterable[Snapshot], snapshot_evaluator: SnapshotEvaluator
    ) -> Scheduler:
        """Return a scheduler for some models that also knows the plan's other models."""
        scheduler = super().create_scheduler(snapshots, snapshot_evaluator)
        scheduler.snapshots_by_name = {**self.planned, **scheduler.snapshots_by_name}
        return scheduler
