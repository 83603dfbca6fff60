"""The contract tables as queries over the mirror of Pipedrive's API.

The mirror holds the answers of the API; the queries interpret them. The query of a table stands in
`queries/`, under the table's name. Queries are written in the postgres dialect and give the same
rows on DuckDB after sqlglot has transpiled them. `docs/landing.md` says which endpoint each column
comes from.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from pipedrive_funnel.contract import FIELDS_WITH_IDS, ID
from pipedrive_funnel.landing.api.tables import MIRROR

if t.TYPE_CHECKING:
    from pipedrive_funnel.landing.api.client import Settings

MAPPED = ("activity", "activity_types", "deal_changes", "fields", "stages", "users")
_QUERIES = Path(__file__).with_name("queries")


def contract_queries(settings: Settings) -> dict[str, str]:
    """Return a query for each table of external_models.yaml, its columns without `loaded_at`."""
    parts = {
        "is_chosen": _is_chosen("deal_id", settings),
        "deals_with_whole_log": _query("deals_with_whole_log"),
    }
    return {table: _query(table, **parts) for table in MAPPED}


def _query(name: str, **parts: str | int) -> str:
    """Return a query of `queries/`, with the parts in place of their names in braces."""
    text = (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    return text.format(**parts, id=ID, fields_with_ids=FIELDS_WITH_IDS)


def skipped(settings: Settings) -> dict[str, str]:
    """Return queries that count the mirror's rows that the contract tables lack, by reason."""
    activities = f"SELECT COUNT(*) FROM {MIRROR}.activities AS activities WHERE"
    deals = f"SELECT COUNT(*) FROM {MIRROR}.deals AS deals WHERE"
    kept = "NOT COALESCE(is_deleted, FALSE)"
    with_log = _query("deals_with_whole_log")
    reasons = {
        "deleted activities": f"{activities} COALESCE(is_deleted, FALSE)",
        "activities without a deal": f"{activities} deal_id IS NULL AND {kept}",
        "deals whose change log Pipedrive does not give": (
            f"{deals} {_is_chosen('id', settings)} AND {_is_not_in('deals.id', with_log)}"
        ),
        "changes to no stage or no owner": (
            f"SELECT COUNT(*) FROM {MIRROR}.changelogs WHERE field_key IN {FIELDS_WITH_IDS} "
            f"AND NOT COALESCE(new_value, '') ~ '^({ID})$' AND {_is_chosen('deal_id', settings)}"
        ),
    }
    if settings.pipeline_id is not None:
        chosen = _query("deals_of_pipeline", pipeline_id=settings.pipeline_id)
        reasons["deals that never were in the pipeline"] = (
            f"{deals} {_is_not_in('deals.id', chosen)}"
        )
        reasons["activities of deals that never were in the pipeline"] = (
            f"{activities} deal_id IS NOT NULL AND {kept} "
            f"AND {_is_not_in('activities.deal_id', chosen)}"
        )
    return reasons


# The subqueries stand where both databases turn them into joins: below an OR or a NOT IN,
# PostgreSQL would run them again for every row.


def _is_chosen(deal_id: str, settings: Settings) -> str:
    """Return the condition that a deal is or ever was in the chosen pipeline; TRUE if none is."""
    if settings.pipeline_id is None:
        return "TRUE"
    return f"{deal_id} IN ({_query('deals_of_pipeline', pipeline_id=settings.pipeline_id)})"


def _is_not_in(deal_id: str, deals: str) -> str:
    return f"NOT EXISTS(SELECT 1 FROM ({deals}) AS those WHERE those.deal_id = {deal_id})"
