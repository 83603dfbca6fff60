"""The contract tables as queries over the mirror of Pipedrive's API.

The mirror holds what the API said, the queries say what it means. They are written in the postgres
dialect and give the same rows on DuckDB after sqlglot has transpiled them. `docs/landing.md` says
which endpoint each column comes from.
"""

from __future__ import annotations

import typing as t

from pipedrive_funnel.contract import FIELDS_WITH_IDS, ID

if t.TYPE_CHECKING:
    from pipedrive_funnel.landing.api.client import Settings

MIRROR = "pipedrive_api"  # the schema that holds the mirror
# The deals whose whole change log the mirror has; an empty log, too, has the row without a field.
# Deals whose whole change log the mirror has. A log that is older than the deal's row is not it:
# Pipedrive has refused a newer one.
_READ = f"""
  SELECT logs.deal_id
  FROM {MIRROR}.changelogs AS logs
  JOIN {MIRROR}.deals AS listed
    ON listed.id = logs.deal_id
  WHERE
    logs.field_key IS NULL
    AND (logs.update_time IS NULL OR logs.update_time = listed.update_time)
"""


def contract_queries(settings: Settings) -> dict[str, str]:
    """Return a query for each table of external_models.yaml, its columns without `loaded_at`."""
    return {
        "activity": f"""
SELECT id AS activity_id, type, owner_id AS assigned_to_user, deal_id, done, due_to
FROM {MIRROR}.activities
WHERE deal_id IS NOT NULL AND NOT COALESCE(is_deleted, FALSE) AND {_is_chosen("deal_id", settings)}
""",
        "activity_types": f"""
SELECT id, name, CASE WHEN active_flag THEN 'Yes' ELSE 'No' END AS active, key_string AS type
FROM {MIRROR}.activity_types
""",
        "deal_changes": _deal_changes(settings),
        "fields": f"""
SELECT
  CAST(NULL AS BIGINT) AS id,
  CASE WHEN field_code = 'owner_id' THEN 'user_id' ELSE field_code END AS field_key,
  field_name AS name,
  options AS field_value_options
FROM {MIRROR}.deal_fields
""",
        "stages": f"SELECT id AS stage_id, name AS stage_name FROM {MIRROR}.stages",
        "users": f"SELECT id, name, email, modified FROM {MIRROR}.users",
    }


def skipped(settings: Settings) -> dict[str, str]:
    """Return queries that count what the mirror has and the contract tables have not, by reason."""
    activities = f"SELECT COUNT(*) FROM {MIRROR}.activities AS activities WHERE"
    deals = f"SELECT COUNT(*) FROM {MIRROR}.deals AS deals WHERE"
    kept = "NOT COALESCE(is_deleted, FALSE)"
    reasons = {
        "deleted activities": f"{activities} COALESCE(is_deleted, FALSE)",
        "activities without a deal": f"{activities} deal_id IS NULL AND {kept}",
        "deals whose change log Pipedrive does not give": (
            f"{deals} {_is_chosen('id', settings)} AND {_is_not_in('deals.id', _READ)}"
        ),
        "changes to no stage or no owner": (
            f"SELECT COUNT(*) FROM {MIRROR}.changelogs WHERE field_key IN {FIELDS_WITH_IDS} "
            f"AND NOT {_is_id('new_value')} AND {_is_chosen('deal_id', settings)}"
        ),
    }
    if settings.pipeline_id is not None:
        chosen = _chosen(settings.pipeline_id)
        reasons["deals that never were in the pipeline"] = (
            f"{deals} {_is_not_in('deals.id', chosen)}"
        )
        reasons["activities of deals that never were in the pipeline"] = (
            f"{activities} deal_id IS NOT NULL AND {kept} "
            f"AND {_is_not_in('activities.deal_id', chosen)}"
        )
    return reasons


def _deal_changes(settings: Settings) -> str:
    """Return the query for the log of changes, with creation, first stage and first owner.

    A first value is the old value of the field's first change, else the current value. Where that
    old value is NULL, the field was empty at first: then the change itself brings the first value.
    The first change is the earliest one. Of several in the same second, it is the one whose old
    value none of the others brought, else (A to B to A) the one that was delivered last: Pipedrive
    delivers the newest first. A change to no stage or to no owner is left out: the deal stays where
    the log has it.

    UNION removes duplicates: a change that the log holds twice is one row, as in staging.
    """
    return f"""
WITH chosen AS (
  SELECT
    id AS deal_id,
    add_time,
    CAST(stage_id AS TEXT) AS stage_id,
    CAST(owner_id AS TEXT) AS user_id
  FROM {MIRROR}.deals
  WHERE {_is_chosen("id", settings)} AND id IN ({_READ})
), changes AS (
  SELECT deal_id, field_key, old_value, new_value, change_time, place
  FROM {MIRROR}.changelogs
  WHERE field_key IS NOT NULL AND deal_id IN (SELECT deal_id FROM chosen)
), ranked AS (
  SELECT
    deal_id,
    field_key,
    old_value,
    new_value,
    place,
    RANK() OVER (PARTITION BY deal_id, field_key ORDER BY change_time) AS time_rank
  FROM changes
), earliest AS (
  SELECT deal_id, field_key, old_value, new_value, place
  FROM ranked
  WHERE time_rank = 1
), numbered AS (
  SELECT
    earliest.deal_id,
    earliest.field_key,
    earliest.old_value,
    ROW_NUMBER() OVER (
      PARTITION BY earliest.deal_id, earliest.field_key
      ORDER BY CASE WHEN other.deal_id IS NULL THEN 0 ELSE 1 END, earliest.place DESC
    ) AS change_num
  FROM earliest
  LEFT JOIN earliest AS other
    ON other.deal_id = earliest.deal_id
    AND other.field_key = earliest.field_key
    AND other.new_value = earliest.old_value
), first_values AS (
  SELECT
    chosen.deal_id,
    chosen.add_time,
    fields.field_key,
    CASE
      WHEN numbered.deal_id IS NOT NULL THEN numbered.old_value
      WHEN fields.field_key = 'stage_id' THEN chosen.stage_id
      ELSE chosen.user_id
    END AS first_value
  FROM chosen
  CROSS JOIN (SELECT 'stage_id' AS field_key UNION ALL SELECT 'user_id' AS field_key) AS fields
  LEFT JOIN numbered
    ON numbered.deal_id = chosen.deal_id
    AND numbered.field_key = fields.field_key
    AND numbered.change_num = 1
)
SELECT
  deal_id,
  add_time AS change_time,
  'add_time' AS changed_field_key,
  TO_CHAR(add_time, 'YYYY-MM-DD') || 'T' || TO_CHAR(add_time, 'HH24:MI:SS') AS new_value
FROM chosen
UNION
SELECT deal_id, add_time AS change_time, field_key AS changed_field_key, first_value AS new_value
FROM first_values
WHERE {_is_id("first_value")}
UNION
SELECT deal_id, change_time, field_key AS changed_field_key, new_value
FROM changes
WHERE field_key NOT IN {FIELDS_WITH_IDS} OR {_is_id("new_value")}
"""


# The subqueries stand where both databases make joins of them: below an OR or a NOT IN, PostgreSQL
# would run them again for every row.


def _is_chosen(deal_id: str, settings: Settings) -> str:
    """Return the condition that a deal is or ever was in the chosen pipeline; none: all deals."""
    if settings.pipeline_id is None:
        return "TRUE"
    return f"{deal_id} IN ({_chosen(settings.pipeline_id)})"


def _chosen(pipeline_id: int) -> str:
    """Return the query for the deals that are or ever were in the pipeline."""
    stages = f"SELECT CAST(id AS TEXT) FROM {MIRROR}.stages WHERE pipeline_id = {int(pipeline_id)}"
    return (
        f"SELECT id AS deal_id FROM {MIRROR}.deals WHERE pipeline_id = {int(pipeline_id)} "
        f"UNION SELECT deal_id FROM {MIRROR}.changelogs "
        f"WHERE field_key = 'stage_id' AND (old_value IN ({stages}) OR new_value IN ({stages}))"
    )


def _is_not_in(deal_id: str, deals: str) -> str:
    return f"NOT EXISTS(SELECT 1 FROM ({deals}) AS those WHERE those.deal_id = {deal_id})"


def _is_id(value: str) -> str:
    """Return the condition that a text is the id of a stage or user."""
    return f"COALESCE({value}, '') ~ '^({ID})$'"
