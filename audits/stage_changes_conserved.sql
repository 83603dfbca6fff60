AUDIT (
  name stage_changes_conserved
);

/* A returned row is a stage with more or fewer entries here than changes into it in the log. */
SELECT
  COALESCE(entries.stage_id, changes.stage_id) AS stage_id,
  entries.total AS entries,
  changes.total AS changes
FROM (
  SELECT
    stage_id,
    COUNT(*) AS total
  FROM @this_model
  GROUP BY
    stage_id
) AS entries
FULL JOIN (
  SELECT
    new_value::BIGINT AS stage_id,
    COUNT(*) AS total
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'stage_id' AND loaded_at <= @end_ts::TIMESTAMP
  GROUP BY
    new_value::BIGINT
) AS changes
  ON entries.stage_id = changes.stage_id
WHERE
  COALESCE(entries.total, 0) <> COALESCE(changes.total, 0)
