MODEL (
  name pipedrive_intermediate.int_touched_deals,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key deal_id,
    lookback 1
  ),
  tags (
    intermediate
  ),
  grain deal_id,
  audits (not_null(columns := (deal_id, loaded_at)), unique_values(columns := deal_id)),
  description 'One row per deal that ever had a change: when the log last gained or lost a row of it. Answers which deals a run of the incremental models rebuilds. A deal stays here when all its rows were removed.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    loaded_at = 'When a change of the deal last arrived or was removed, UTC',
    changes_removed_at = 'When changes of the deal were last removed by landing, UTC; NULL when none ever was'
  )
);

WITH touches AS (
  SELECT
    deal_id,
    loaded_at
  FROM pipedrive_staging.stg_deal_changes
  UNION ALL
  SELECT
    deal_id,
    loaded_at
  FROM pipedrive_staging.stg_removed_changes
), touched_deals AS (
  SELECT
    deal_id,
    MAX(loaded_at) AS loaded_at
  FROM touches
  WHERE
    loaded_at BETWEEN @start_ts::TIMESTAMP AND @last_arrival()
  GROUP BY
    deal_id
)
SELECT
  touched_deals.deal_id::BIGINT AS deal_id,
  touched_deals.loaded_at::TIMESTAMP AS loaded_at,
  removals.loaded_at::TIMESTAMP AS changes_removed_at
FROM touched_deals
LEFT JOIN pipedrive_staging.stg_removed_changes AS removals
  ON touched_deals.deal_id = removals.deal_id;

@postgres_index(loaded_at);

@postgres_analyze()
