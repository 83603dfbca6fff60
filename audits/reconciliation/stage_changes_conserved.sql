AUDIT (
  name stage_changes_conserved
);

/* A returned row is a deal and stage with fewer entries here than changes into it in the log. */
SELECT
  changes.deal_id,
  changes.stage_id,
  changes.total AS changes,
  entries.total AS entries
FROM (
  SELECT
    deal_id,
    new_value::BIGINT AS stage_id,
    COUNT(*) AS total
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'stage_id' AND loaded_at <= @processed_until()
  GROUP BY
    deal_id,
    new_value::BIGINT
) AS changes
LEFT JOIN (
  SELECT
    deal_id,
    stage_id,
    COUNT(*) AS total
  FROM @this_model
  GROUP BY
    deal_id,
    stage_id
) AS entries
  ON changes.deal_id = entries.deal_id AND changes.stage_id = entries.stage_id
WHERE
  changes.total > COALESCE(entries.total, 0)
