AUDIT (
  name stage_changes_conserved
);

/* A returned row is a deal and stage with more or fewer entries here than changes into it in the log. */
SELECT
  COALESCE(changes.deal_id, entries.deal_id) AS deal_id,
  COALESCE(changes.stage_id, entries.stage_id) AS stage_id,
  changes.total AS changes,
  entries.total AS entries
FROM (
  SELECT
    deal_id,
    new_value::BIGINT AS stage_id,
    COUNT(*) AS total
  FROM pipedrive_intermediate.int_deal_changes
  WHERE
    field_key = 'stage_id' AND @was_touched(deal_id)
  GROUP BY
    deal_id,
    new_value::BIGINT
) AS changes
FULL JOIN (
  SELECT
    deal_id,
    stage_id,
    COUNT(*) AS total
  FROM @this_model
  WHERE
    @was_touched(deal_id)
  GROUP BY
    deal_id,
    stage_id
) AS entries
  ON changes.deal_id = entries.deal_id AND changes.stage_id = entries.stage_id
WHERE
  COALESCE(changes.total, 0) <> COALESCE(entries.total, 0)
