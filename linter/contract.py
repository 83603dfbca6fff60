"""The rule that keeps what readers of the marts rely on: their columns and types."""

from __future__ import annotations

import functools
from pathlib import Path

from ruamel.yaml import YAML
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import Model

from linter.layers import ANALYTICS

CONTRACT = Path("models") / "marts" / "contract.yaml"


@functools.cache
def _contract(path: Path, changed_ns: int) -> dict[str, dict[str, str]]:
    return YAML(typ="safe").load(path)


class MartContract(Rule):
    """A mart has the columns and types that models/marts/contract.yaml promises to readers."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept models that are no marts, are not in the contract yet, or keep it."""
        table = model.fully_qualified_table
        path = self.context.path / CONTRACT
        contract = _contract(path, path.stat().st_mtime_ns)
        if table.db != ANALYTICS or table.name not in contract:
            return []
        promised = contract[table.name]
        found = {
            name: kind.sql("postgres") for name, kind in (model.columns_to_types or {}).items()
        }
        advice = f"Readers rely on it: change {CONTRACT} if you mean it."
        return [
            self.violation(
                f"{name} is {found.get(name, 'missing')}, "
                f"{CONTRACT.name} says {promised.get(name, 'nothing of it')}. {advice}"
            )
            for name in promised | found
            if promised.get(name) != found.get(name)
        ]
