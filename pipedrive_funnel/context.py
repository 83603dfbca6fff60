"""SQLMesh's context as our plans and runs use it."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from sqlmesh import Context

if t.TYPE_CHECKING:
    from sqlmesh.core.plan import Plan
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

    def audit_again(self, plan: Plan) -> None:
        """Run audits that were added to models of a plan, where an earlier plan has run them.

        SQLMesh runs them when it sees the new version of the model for the first time. If one
        fails, the same plan would go through when it is repeated.

        Raises:
            PlanError: one fails that blocks.

        """
        from sqlmesh.utils.errors import PlanError

        changes = plan.context_diff
        known = [
            new
            for new, old in changes.modified_snapshots.values()
            if new.snapshot_id not in changes.new_snapshots
            and new.is_model
            and new.is_metadata
            and new.evaluatable
            and new.model.audits
            and new.model.audit_metadata_hash() != old.model.audit_metadata_hash()
        ]
        if known:
            scheduler = self.create_scheduler(known, self.snapshot_evaluator)
            status = scheduler.audit(
                plan.environment, plan.start, plan.end, execution_time=plan.execution_time
            )
            if status.is_failure:
                raise PlanError("An audit blocks.")
