"""Layer rules: what a model may be called, what it is and what it may read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import Model, SqlModel

RAW = "pipedrive_raw"
SEED = "pipedrive_seed"
STAGING = "pipedrive_staging"
INTERMEDIATE = "pipedrive_intermediate"
ANALYTICS = "pipedrive_analytics"
QUALITY = "pipedrive_quality"

MATERIALIZED = "materialized"


@dataclass(frozen=True)
class Layer:
    """The models of one schema and prefix: their kind, and the schemas they may read."""

    schema: str
    prefix: str
    kind: str  # of SQLMesh, or MATERIALIZED for every kind that fills a table
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the pattern of the layer's names."""
        return f"{self.schema}.{self.prefix}*"

    def holds(self, model: Model) -> bool:
        """Tell whether the model's name is of this layer."""
        schema, name = model.fully_qualified_table.db, model.fully_qualified_table.name
        return schema == self.schema and name.startswith(self.prefix)


LAYERS = (
    Layer(RAW, "", "EXTERNAL"),
    Layer(SEED, "", "SEED"),
    Layer(STAGING, "stg_", "VIEW", (RAW, SEED)),
    Layer(INTERMEDIATE, "int_", MATERIALIZED, (STAGING, INTERMEDIATE)),
    Layer(ANALYTICS, "dim_", MATERIALIZED, (INTERMEDIATE, ANALYTICS)),  # and see `describes`
    Layer(ANALYTICS, "fct_", MATERIALIZED, (INTERMEDIATE, ANALYTICS, QUALITY)),
    Layer(ANALYTICS, "rep_", MATERIALIZED, (ANALYTICS, QUALITY)),
    Layer(QUALITY, "", "EMBEDDED", (STAGING, INTERMEDIATE, ANALYTICS)),
)


def describes(model: Model, table: exp.Table) -> bool:
    """Tell whether a dimension reads the staging view of the things it describes."""
    dimension = model.fully_qualified_table.name
    return table.db == STAGING and table.name == dimension.replace("dim_", "stg_", 1)


def layer_of(model: Model) -> Layer | None:
    """Return the layer that the model's name puts it in, or None if it is of no layer."""
    return next((layer for layer in LAYERS if layer.holds(model)), None)


class LayerNames(Rule):
    """A model's schema and prefix name its layer."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept a name that is of a layer."""
        if layer_of(model):
            return None
        names = ", ".join(map(str, LAYERS))
        return self.violation(f"{model.name} is of no layer. Rename it to one of {names}.")


class LayerKinds(Rule):
    """Staging is views; what comes below is tables, so that no view stands on a view."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept the kind that the model's layer asks for."""
        layer = layer_of(model)
        if layer is None or self._is(model, layer.kind):
            return None
        wanted = "a materialized kind, such as FULL" if layer.kind == MATERIALIZED else layer.kind
        return self.violation(f"{layer} is no place for kind {model.kind.name}. Make it {wanted}.")

    @staticmethod
    def _is(model: Model, kind: str) -> bool:
        return model.kind.is_materialized if kind == MATERIALIZED else model.kind.name == kind


class LayerReads(Rule):
    """A model reads the layers it is made from: raw data is read by staging only."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept references into the schemas that the model's layer may read."""
        layer = layer_of(model)
        tables = [exp.to_table(name) for name in sorted(model.depends_on)]
        return [
            self.violation(
                f"{layer} must not read {table.db}.{table.name}. "
                f"Read {' or '.join(layer.reads) or 'nothing'} instead."
                + (" A dimension may read stg_* of its own name." if layer.prefix == "dim_" else "")
            )
            for table in tables
            if layer and table.db not in layer.reads and not describes(model, table)
        ]


class NoJoinsInStaging(Rule):
    """A staging model renames and casts one raw table; joins belong into the layers below."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept staging models that read a single table, without a join."""
        if not isinstance(model, SqlModel) or model.fully_qualified_table.db != STAGING:
            return None
        if len(model.depends_on) == 1 and not model.query.find(exp.Join):
            return None
        return self.violation(
            f"Read exactly one raw table, without a join. Move the rest into {INTERMEDIATE}."
        )
