AUDIT (
  name vanished_stage_changes,
  blocking FALSE
);

/* A returned row is a deal and stage with more entries here than changes into it in the log, from which rows have vanished. Kept until the model is restated. */
SELECT
  entries.deal_id,
  entries.stage_id,
  entries.total AS entries,
  changes.total AS changes
FROM (
  SELECT
    deal_id,
    stage_id,
    COUNT(*) AS total
  FROM @this_model
  GROUP BY
    deal_id,
    stage_id
) AS entries
LEFT JOIN (
  SELECT
    deal_id,
    new_value::BIGINT AS stage_id,
    COUNT(*) AS total
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'stage_id'
  GROUP BY
    deal_id,
    new_value::BIGINT
) AS changes
  ON entries.deal_id = changes.deal_id AND entries.stage_id = changes.stage_id
WHERE
  entries.total > COALESCE(changes.total, 0)
