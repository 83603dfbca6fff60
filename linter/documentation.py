"""Documentation rules: what a model says about itself in its header."""

from __future__ import annotations

import functools

from sqlmesh.core import dialect as d
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import ExternalModel, Model

HEADER_ORDER = (
    "name",
    "kind",
    "cron",
    "owner",
    "tags",
    "grain",
    "grains",
    "references",
    "audits",
    "description",
    "column_descriptions",
)


def header_of(model: Model) -> d.Model | None:
    """Return the MODEL (...) expression of a .sql model as its author wrote it, or None.

    A loaded model has forgotten the order of its properties and their comments.
    """
    if model._path is None or model._path.suffix != ".sql":
        return None
    return _parsed_header(model._path.read_text(encoding="utf-8"), model.dialect)


@functools.cache
def _parsed_header(source: str, dialect: str) -> d.Model:
    """Parse no more of a file than its header: every plan does this for every model."""
    header, end, _ = source.partition("\n);")
    return d.parse(header + end, default_dialect=dialect)[0]


class NoMissingOwner(Rule):
    """Somebody answers for every model."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept models with an owner, their own or the default one."""
        if model.owner:
            return None
        return self.violation("Add an owner to the header, or one for all to config.yaml.")


class NoMissingDescription(Rule):
    """Every description begins with what one row is."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept descriptions that begin with `One row per`."""
        if (model.description or "").startswith("One row per "):
            return None
        return self.violation(
            "Add a description that begins with what one row is: 'One row per deal and stage ...'."
        )


class NoMissingColumnDescriptions(Rule):
    """Every column is described, and nothing that is no column."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept models that describe exactly the columns they have.

        Where the header itself lists the columns, SQLMesh warns of a description without a column.
        """
        columns = list(model.columns_to_types or {})
        described = model.column_descriptions
        missing = [column for column in columns if not described.get(column)]
        unknown = [column for column in described if column not in columns]
        violations = []
        if missing:
            violations.append(f"Describe {', '.join(missing)} in column_descriptions.")
        if unknown:
            violations.append(
                f"Remove {', '.join(unknown)} from column_descriptions: no such column."
            )
        return [self.violation(message) for message in violations]


class NoMissingGrain(Rule):
    """Every model says which columns identify a row."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept models with a grain; an external model cannot have one."""
        if model.grains or isinstance(model, ExternalModel):
            return None
        return self.violation("Add a grain to the header: the columns that identify a row.")


class HeaderOrder(Rule):
    """The properties of every header stand in the same order."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept headers in HEADER_ORDER; other properties come last, in any order."""
        header = header_of(model)
        names = [prop.name for prop in header.expressions] if header else []
        others = [name for name in names if name not in HEADER_ORDER]
        ordered = sorted(set(names) - set(others), key=HEADER_ORDER.index) + others
        if names == ordered:
            return None
        return self.violation(f"Put the header in this order: {', '.join(ordered)}.")


class NoUnexplainedExceptions(Rule):
    """A model that ignores a rule gives the reason beside it."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept `ignored_rules` that carry a comment."""
        header = header_of(model)
        for prop in header.expressions if header else ():
            has_comment = any(node.comments for node in prop.walk())
            if prop.name == "ignored_rules" and not has_comment:
                return self.violation(
                    "Give the reason in a comment behind it: ignored_rules (a_rule) /* because */."
                )
        return None
