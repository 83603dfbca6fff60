"""Who may look at the marts on PostgreSQL, in environments that come and go."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage


@macro()
def analyst_may_look(evaluator: MacroEvaluator) -> list[exp.Expression] | None:
    """Let the role `analyst` read the marts of the environment that was planned or run.

    Prod is not dealt with here: docker/create_roles.sh has given its schema to the readers. The
    defaults of the schema make the next promotion of this environment seamless, too.

    Returns:
        The statements, or None on another engine, for prod, or where the role does not exist.

    """
    adapter = evaluator.engine_adapter
    if evaluator.runtime_stage != RuntimeStage.AFTER_ALL.value or adapter.dialect != "postgres":
        return None
    schemas = [name for name in evaluator.schemas if name.startswith("pipedrive_analytics__")]
    if not adapter.fetchone("SELECT COUNT(*) FROM pg_roles WHERE rolname = 'analyst'")[0]:
        return None
    return [
        exp.Command(this=verb, expression=f"{rest} TO analyst")
        for schema in schemas
        for verb, rest in (
            ("GRANT", f'USAGE ON SCHEMA "{schema}"'),
            ("GRANT", f'SELECT ON ALL TABLES IN SCHEMA "{schema}"'),
            ("ALTER", f'DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT SELECT ON TABLES'),
        )
    ]
