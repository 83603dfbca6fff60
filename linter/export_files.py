"""The rule that stops a plan before a bad file of the export is loaded."""

from __future__ import annotations

import os

from rich.markup import escape
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import Model, SeedModel

from linter.layers import RAW, SEED
from pipedrive_funnel.export.check import EDITED, STEPS_FILE, check_deals, check_file, check_steps


class ValidExportFile(Rule):
    """A file of the export, or the mapping of steps, meets its contract."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept SEED models whose file has no defects."""
        table = model.fully_qualified_table
        if not isinstance(model, SeedModel):
            return []
        name = os.path.relpath(model.seed_path, self.context.path)
        steps: list[str] = []
        if columns := EDITED.get(model.seed_path.name, {}):
            are_seeds = self.context.get_model(f"{SEED}.stages")  # else the stages are landed
            if model.seed_path.name == STEPS_FILE and are_seeds:
                listed = str(self.context.config.variables.get("stages_outside_funnel", ""))
                steps = check_steps(model.seed_path, name, outside=listed.replace(",", " ").split())
        elif table.db != SEED:
            return []
        elif contract := self.context.get_model(f"{RAW}.{table.name}"):
            types = contract.columns_to_types
            columns = {column: kind.sql("postgres") for column, kind in types.items()}
        else:
            message = f"Describe the columns of {RAW}.{table.name} in external_models.yaml."
            return [self.violation(message)]
        defects = check_file(model.seed_path, columns, name) + steps
        if table.name == "deals":
            defects += check_deals(model.seed_path, name)
        # The console takes [bold] in a value for markup.
        return [self.violation(escape(text)) for text in defects]
