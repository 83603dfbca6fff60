"""Every convention of linter/ finds what it is there for, and the project keeps all of them."""

from __future__ import annotations

import re
import typing as t
from functools import partial
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from sqlmesh import Context
from sqlmesh.core.linter.definition import AnnotatedRuleViolation
from sqlmesh.core.linter.rule import Rule

from linter.contract import CONTRACT
from tests.support.warehouse import copy_project

MART = """MODEL (
  name pipedrive_analytics.dim_example,
  kind FULL,
  grain stage_id,
  audits (not_null(columns := stage_id)),
  description 'One row per stage.',
  column_descriptions (stage_id = 'Identifier', worth = 'Sum of its deals, in euros'),
  ignored_rules (nomissingunittest) /* it is an example */
);

SELECT
  stage_id::BIGINT AS stage_id,
  (stage_id / 3)::DECIMAL(12, 4) AS worth
FROM pipedrive_analytics.dim_stages;

@postgres_analyze()
"""
STAGING = """MODEL (
  name pipedrive_staging.stg_example,
  kind VIEW,
  grain stage_id,
  audits (not_null(columns := stage_id)),
  description 'One row per stage.',
  column_descriptions (stage_id = 'Identifier'),
  ignored_rules (nomissingunittest) /* it is an example */
);

SELECT
  stage_id::BIGINT AS stage_id
FROM pipedrive_raw.stages;
"""
SEED = """MODEL (
  name pipedrive_analytics.dim_example,
  kind SEED (path '$root/seeds/stages.csv'),
  grain stage_id,
  audits (not_null(columns := stage_id)),
  description 'One row per stage.',
  column_descriptions (stage_id = 'Identifier', stage_name = 'Label'),
  columns (stage_id BIGINT, stage_name TEXT),
  ignored_rules (nomissingunittest) /* it is an example */
);

@INSERT_SEED();

@postgres_analyze()
"""
EXTERNAL = """
- name: pipedrive_raw.example
  description: Examples.
  columns: {id: BIGINT, worth: DECIMAL}
  column_descriptions: {id: Identifier}
"""


def change(model: str, old: str = "", new: str = "") -> str:
    """Return the text of a model with `old` replaced by `new`."""
    assert old in model, "the example would not be what it says it is"
    return model.replace(old, new, 1)


mart, staging, seed = partial(change, MART), partial(change, STAGING), partial(change, SEED)
report = partial(change, mart("dim_example", "rep_example"))
intermediate = partial(
    change,
    mart("pipedrive_analytics.dim_example", "pipedrive_intermediate.int_example").replace(
        "pipedrive_analytics.dim_stages", "pipedrive_staging.stg_stages"
    ),
)
check = partial(
    change,
    mart("pipedrive_analytics.dim_example", "pipedrive_quality.chk_example")
    .replace("kind FULL", "kind EMBEDDED")
    .replace("  audits (not_null(columns := stage_id)),\n", "")
    .replace(";\n\n@postgres_analyze()", ""),
)
GRAIN = "  grain stage_id,\n"
AUDIT = "not_null(columns := stage_id)"
STAGES = "FROM pipedrive_analytics.dim_stages"
WORTH = "(stage_id / 3)"
UNWORTHY = mart(", worth = 'Sum of its deals, in euros'").replace(
    f",\n  {WORTH}::DECIMAL(12, 4) AS worth", ""
)
INLINE_AUDIT = ";\n\nAUDIT (name fresh);\n\nSELECT * FROM @this_model WHERE stage_id < {}"

GOOD = [
    mart(),
    check(),
    report(),
    intermediate(),
    staging(),
    seed(),
    mart(GRAIN, f"  cron '@hourly',\n  owner me,\n  tags (a, b),\n{GRAIN}  references (worth),\n"),
    mart(GRAIN, "  grains (stage_id, worth),\n"),
    mart("'Identifier'", "'Identifier: 1 is CURRENT_DATE::DECIMAL'"),
    mart(STAGES, f"{STAGES} UNION ALL SELECT 1::BIGINT, 2::DECIMAL(12, 4)"),
    mart(STAGES, f"FROM (SELECT stage_id {STAGES} ORDER BY stage_id LIMIT 1) AS latest"),
    mart(STAGES, f"{STAGES} GROUP BY stage_id"),
    mart(STAGES, f"{STAGES} WHERE stage_id < EXTRACT(YEAR FROM @execution_ds::DATE)"),
    mart(WORTH, "ROW_NUMBER() OVER (ORDER BY stage_id)"),
    mart(WORTH, "@IF(@gateway = 'duckdb', 1, 2)"),
]
BAD: dict[str, list[tuple[str, str]]] = {
    # the contract of the marts, which has stage_id and worth of these
    "martcontract": [
        ("stage_id is INT, contract.yaml says BIGINT", mart("stage_id::BIGINT", "stage_id::INT")),
        ("worth is missing, contract.yaml says DECIMAL(12, 4)", UNWORTHY),
        (
            "name is TEXT, contract.yaml says nothing of it",
            mart(WORTH, "'x'::TEXT AS name,\n  (stage_id / 3)").replace(
                "worth =", "name = 'A name', worth ="
            ),
        ),
    ],
    # documentation
    "nomissingowner": [("Add an owner", mart(GRAIN, f"  owner '',\n{GRAIN}"))],
    "nomissingdescription": [
        ("begins with what one row is", mart("  description 'One row per stage.',\n")),
        ("begins with what one row is", mart("One row per stage", "Stages")),
    ],
    "nomissingcolumndescriptions": [
        ("Describe worth in", mart(", worth = 'Sum of its deals, in euros'")),
        ("Describe stage_id in", mart("'Identifier'", "''")),
        ("Remove more from", mart("worth = ", "more = 'No column', worth = ")),
        ("Describe stage_name in", seed(", stage_name = 'Label'")),
    ],
    "nomissinggrain": [("Add a grain", mart(GRAIN)), ("Add a grain", seed(GRAIN))],
    "headerorder": [
        ("order: name, kind, owner, grain, audits,", mart(GRAIN, f"{GRAIN}  owner me,\n")),
        (
            "order: name, kind, grain, audits,",
            mart("  kind FULL,\n" + GRAIN, GRAIN + "  kind FULL,\n"),
        ),
        ("column_descriptions, enabled, ignored_rules.", mart(GRAIN, f"  enabled TRUE,\n{GRAIN}")),
    ],
    "nounexplainedexceptions": [("the reason in a comment", mart(" /* it is an example */"))],
    # layers
    "layernames": [
        ("Rename it to one of pipedrive_raw.*, ", mart("dim_example", "example")),
        (
            "pipedrive_analytics.rep_*, pipedrive_quality.*.",
            mart("pipedrive_analytics.dim_example", "marts.dim_example"),
        ),
        ("pipedrive_staging.stg_*, ", staging("stg_example", "example")),
        ("pipedrive_intermediate.int_*, ", intermediate("int_example", "stg_example")),
    ],
    "layerkinds": [
        ("Make it a materialized kind, such as FULL.", mart("FULL", "VIEW")),
        ("Make it a materialized kind, such as FULL.", intermediate("FULL", "VIEW")),
        ("Make it EMBEDDED.", mart("analytics.dim_example", "quality.chk_example")),
        ("Make it VIEW.", staging("VIEW", "FULL") + "@postgres_analyze()"),
        ("Make it EXTERNAL.", seed("analytics.dim_example", "raw.example")),
    ],
    "layerreads": [
        ("dim_* must not read pipedrive_raw.stages", mart(STAGES, "FROM pipedrive_raw.stages")),
        ("must not read pipedrive_seed.stages", intermediate("staging.stg_", "seed.")),
        ("Read pipedrive_staging or pipedrive_i", intermediate("staging.stg_", "analytics.dim_")),
        ("pipedrive_analytics or pipedrive_quality", report("analytics.dim_st", "staging.stg_st")),
        ("stg_* of its own name", mart("analytics.dim_stages", "staging.stg_stages")),
        (
            "fct_* must not read pipedrive_staging.stg_stages. Read pipedrive_intermediate or",
            mart("dim_example", "fct_example").replace(
                "analytics.dim_stages", "staging.stg_stages"
            ),
        ),
        ("Read pipedrive_staging or pipedrive_i", check("analytics.dim_", "raw.")),
        ("Read pipedrive_raw or pipedrive_seed", staging("raw.", "staging.stg_")),
    ],
    "nojoinsinstaging": [
        ("exactly one raw table", staging("raw.stages", f"raw.stages {more}"))
        for more in (
            "JOIN pipedrive_raw.users ON id = stage_id",
            "JOIN (SELECT stage_id AS id FROM pipedrive_raw.stages) AS again ON id = stage_id",
            "WHERE stage_id IN (SELECT id FROM pipedrive_raw.users)",
        )
    ],
    # queries
    "nouncastcolumns": [
        ("Cast worth in", mart("::DECIMAL(12, 4)")),
        ("Cast stage_id in", mart("stage_id::BIGINT AS stage_id", "stage_id")),
        ("Cast stage_id in", mart("stage_id::BIGINT", "stage_id::BIGINT + 0")),
        ("Cast 1, 0.5 in", mart(STAGES, f"{STAGES} UNION ALL (SELECT 1, 0.5)")),
    ],
    "nogroupbyordinals": [
        ("Name the columns in GROUP BY 1.", mart(STAGES, f"{STAGES} GROUP BY 1, stage_id")),
        (
            "Name the columns in GROUP BY 1.",
            mart(STAGES, f"FROM (SELECT stage_id {STAGES} GROUP BY 1) AS stages"),
        ),
    ],
    "noorderby": [
        ("Remove the ORDER BY", mart(STAGES, f"{STAGES} ORDER BY stage_id")),
        (
            "Remove the ORDER BY",
            mart(STAGES, f"{STAGES} UNION ALL SELECT 1::BIGINT, 2::DECIMAL(12, 4) ORDER BY 1"),
        ),
    ],
    "nobaredecimals": [
        ("DECIMAL in the query needs", mart("DECIMAL(12, 4)", "NUMERIC")),
        ("DECIMAL(12) in the query needs", mart("DECIMAL(12, 4)", "DECIMAL(12)")),
        ("DECIMAL in the query needs", mart(WORTH, "(stage_id::NUMERIC / 3)")),
        ("in the column stage_id needs", seed("(stage_id BIGINT", "(stage_id DECIMAL")),
        ("in the audit forall", mart(AUDIT, "forall(criteria := (worth > 1::NUMERIC))")),
    ],
    "nowallclock": [
        *(
            ("in the query is the wall clock. Use", mart(STAGES, f"{STAGES} WHERE {clock} > NULL"))
            for clock in ("CURRENT_DATE", "CURRENT_TIMESTAMP", "NOW()", "LOCALTIMESTAMP")
        ),
        ("in the audit forall", mart(AUDIT, "forall(criteria := (CURRENT_DATE > NULL))")),
        ("in the audit fresh", mart(AUDIT, "fresh") + INLINE_AUDIT.format("CURRENT_DATE")),
    ],
    "nomissinganalyze": [
        ("End the model with @postgres_analyze().", mart("@postgres_analyze()")),
        (
            "End the model with @postgres_analyze().",
            mart("@postgres_analyze()", "@postgres_analyze();\n\n@postgres_index(stage_id)"),
        ),
        ("with @INSERT_SEED(); and @postgres_analyze().", seed("@INSERT_SEED();\n")),
    ],
    # what it finds in a file is for test_export_files.py
    "validexportfile": [
        ("columns of pipedrive_raw.example_", seed("analytics.dim_example", "seed.example")),
    ],
}
EXAMPLES = [("", "", text) for text in GOOD] + [
    (rule, message, text) for rule, examples in BAD.items() for message, text in examples
]

Lint = t.Callable[[str], list[AnnotatedRuleViolation]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project and add every example, numbered, as a model of its own."""
    path = copy_project(tmp_path_factory.mktemp("linter") / "project")
    (path / "models" / "examples").mkdir()
    for number, (_, _, text) in enumerate(EXAMPLES):
        text = text.replace("example,", f"example_{number},", 1).replace("fresh", f"fresh_{number}")
        (path / "models" / "examples" / f"{number}.sql").write_text(text)
    with (path / "external_models.yaml").open("a") as contract:
        contract.write(EXTERNAL)
    with (path / CONTRACT).open("a") as contract:
        for number, (rule, *_) in enumerate(EXAMPLES):
            if rule == "martcontract":
                contract.write(
                    f"dim_example_{number}: {{stage_id: BIGINT, worth: 'DECIMAL(12, 4)'}}\n"
                )
    return path


@pytest.fixture(scope="module")
def lint(project: Path) -> t.Iterator[Lint]:
    """Return a function that lints models by all rules but the one on unit tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SQLMESH__LINTER__RULES", "all")
        environment.setenv("SQLMESH__LINTER__IGNORED_RULES", "nomissingunittest")
        context = Context(paths=str(project))

    def lint(name: str) -> list[AnnotatedRuleViolation]:
        models = [model for model in context.models.values() if re.fullmatch(name, model.name)]
        assert models, f"no model is called {name}"
        return context.lint_models(models, raise_on_error=False)

    yield lint
    context.close()


@pytest.mark.parametrize(
    "number", range(len(GOOD), len(EXAMPLES)), ids=lambda number: EXAMPLES[number][0]
)
def test_the_rule_and_no_other_finds_the_mistake(lint: Lint, number: int):
    rule, message, _ = EXAMPLES[number]
    violations = lint(rf".*example_{number}")
    assert [violation.rule.name for violation in violations] == [rule]
    assert message in violations[0].violation_msg


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_what_is_fine_passes(lint: Lint, number: int):
    assert lint(rf".*example_{number}") == []


def test_external_models_are_held_to_the_rules(lint: Lint):
    messages = [violation.violation_msg for violation in lint(r"pipedrive_raw\.example")]
    assert sorted(message[:30] for message in messages) == [
        "Add a description that begins ",
        "DECIMAL in the column worth ne",
        "Describe worth in column_descr",
    ]


def test_every_mart_has_a_contract_and_no_other_table(project: Path):
    contract = YAML(typ="safe").load(project / CONTRACT)
    marts = {path.stem for path in (project / "models" / "marts").glob("*/*.sql")}
    missing, gone = marts - set(contract), set(contract) - marts
    assert missing == set(), f"add its columns and types to {CONTRACT}"
    assert {name for name in gone if "example" not in name} == set()


def test_the_project_keeps_its_conventions(lint: Lint):
    assert lint(r"(?!.*example).*") == []


def test_every_rule_is_tested_and_switched_on(lint: Lint, project: Path):
    rules = {rule.name for rule in Rule.__subclasses__() if rule.__module__.startswith("linter.")}
    assert rules == set(BAD)
    assert rules <= Context(paths=str(project), load=False).config.linter.rules
