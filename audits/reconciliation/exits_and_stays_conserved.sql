AUDIT (
  name exits_and_stays_conserved
);

/* A returned row is a stage whose exits and deals still there do not add up to the entries in fct_stage_entries. */
SELECT
  COALESCE(stages.stage_id, entries.stage_id) AS stage_id,
  stages.total AS exits_and_stays,
  entries.total AS entries
FROM (
  SELECT
    stage_id,
    SUM(exits_count) + SUM(COALESCE(still_there_count, 0)) AS total
  FROM @this_model
  GROUP BY
    stage_id
) AS stages
FULL JOIN (
  SELECT
    stage_id,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_stage_entries
  GROUP BY
    stage_id
) AS entries
  ON stages.stage_id = entries.stage_id
WHERE
  COALESCE(stages.total, 0) <> COALESCE(entries.total, 0)
