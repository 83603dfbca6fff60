"""The rule that stops a plan before a bad file of the export is loaded."""

from __future__ import annotations

import os

from rich.markup import escape
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import Model, SeedModel

from linter.layers import RAW, SEED
from pipedrive_funnel.export_files import check_file


class ValidExportFile(Rule):
    """A file of the export meets its contract in external_models.yaml."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept SEED models of the export whose file has no defects."""
        table = model.fully_qualified_table
        if not isinstance(model, SeedModel) or table.db != SEED:
            return []
        contract = self.context.get_model(f"{RAW}.{table.name}")
        if contract is None:
            message = f"Describe the columns of {RAW}.{table.name} in external_models.yaml."
            return [self.violation(message)]
        columns = {name: kind.sql("postgres") for name, kind in contract.columns_to_types.items()}
        name = os.path.relpath(model.seed_path, self.context.path)
        # The console takes [bold] in a value for markup.
        return [self.violation(escape(text)) for text in check_file(model.seed_path, columns, name)]
