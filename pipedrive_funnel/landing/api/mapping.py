"""The contract tables as queries over the mirror of Pipedrive's API.

The mirror holds the answers of the API; the queries interpret them. The query of a table stands in
`queries/`, under the table's name. Queries are written in the postgres dialect and give the same
rows on DuckDB after sqlglot has transpiled them. `docs/landing.md` says which endpoint each column
comes from.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from pipedrive_funnel.contract import FIELDS_WITH_IDS, ID, REJECTED
from pipedrive_funnel.landing.api.tables import GONE, MIRROR

if t.TYPE_CHECKING:
    from pipedrive_funnel.landing.api.settings import Settings

MAPPED = (
    *("activity", "activity_types", "deal_changes", "deals", "fields", "pipelines"),
    *("pipeline_stages", "stages", "users", REJECTED),
)
LOGGED_FIELDS = ("stage_id", "user_id", "lost_reason", "status")  # of a change log
ODD_VALUES = "single values, of rows that are landed"  # what has no place in the contract
_QUERIES = Path(__file__).with_name("queries")


class Coverage(t.NamedTuple):
    """How many of the chosen deals are landed, and how many there are."""

    landed: int
    deals: int


def contract_queries(settings: Settings) -> dict[str, str]:
    """Return a query for each table of external_models.yaml, its columns without `loaded_at`."""
    parts = {
        "is_chosen": _is_chosen("deal_id", settings),
        "is_deal_chosen": _is_chosen("id", settings),
        "deals_with_whole_log": _query("deals_with_whole_log"),
        "deals_without_log": _query("deals_without_log"),
    }
    return {table: _query(table, **parts) for table in MAPPED}


def coverage(settings: Settings) -> str:
    """Return a query whose row is a Coverage."""
    return (
        "SELECT COUNT(logs.deal_id), COUNT(*) "
        f"FROM {MIRROR}.deals AS deals LEFT JOIN ({_query('deals_with_whole_log')}) AS logs "
        f"ON logs.deal_id = deals.id WHERE {_is_chosen('deals.id', settings)}"
    )


def _query(name: str, **parts: str | int) -> str:
    """Return a query of `queries/`, with the parts in place of their names in braces."""
    text = (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    constants = {"id": ID, "fields_with_ids": FIELDS_WITH_IDS, "logged_fields": LOGGED_FIELDS}
    return text.format(**parts, **constants, gone=GONE)


def skipped(settings: Settings) -> dict[str, str]:
    """Return queries that count the mirror's rows that the contract tables lack, by reason."""
    activities = f"SELECT COUNT(*) FROM {MIRROR}.activities AS activities WHERE"
    deals = f"SELECT COUNT(*) FROM {MIRROR}.deals AS deals WHERE"
    kept = "NOT COALESCE(is_deleted, FALSE)"
    refused = f"SELECT deal_id FROM {MIRROR}.logs WHERE refusal IS NOT NULL"
    without_log = _query("deals_without_log")
    reasons = {
        "deleted activities": f"{activities} COALESCE(is_deleted, FALSE)",
        "activities without a deal": f"{activities} deal_id IS NULL AND {kept}",
        "deals whose change log Pipedrive does not give": (
            f"{deals} {_is_chosen('id', settings)} AND {_is_in('deals.id', refused)}"
        ),
        "deals whose change log is not read yet": (
            f"{deals} {_is_chosen('id', settings)} AND {_is_in('deals.id', without_log)} "
            f"AND {_is_not_in('deals.id', refused)}"
        ),
        "activities of deals without a change log": (
            f"{activities} {_is_chosen('deal_id', settings)} AND {kept} "
            f"AND {_is_in('activities.deal_id', without_log)}"
        ),
        "changes to no stage or no owner": (
            f"SELECT COUNT(*) FROM {MIRROR}.changelogs WHERE field_key IN {FIELDS_WITH_IDS} "
            f"AND NOT COALESCE(new_value, '') ~ '^({ID})$' AND {_is_chosen('deal_id', settings)}"
        ),
        ODD_VALUES: f"SELECT COUNT(*) FROM {MIRROR}.rejects WHERE is_value",
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


def _is_in(deal_id: str, deals: str) -> str:
    return f"EXISTS(SELECT 1 FROM ({deals}) AS those WHERE those.deal_id = {deal_id})"


def _is_not_in(deal_id: str, deals: str) -> str:
    return f"NOT {_is_in(deal_id, deals)}"
