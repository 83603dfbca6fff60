AUDIT (
  name transitions_conserved
);

/* A returned row is a stage with more or fewer moves out of it here than exits in fct_stage_entries. */
SELECT
  COALESCE(transitions.stage_id, exits.stage_id) AS stage_id,
  transitions.total AS transitions,
  exits.total AS exits
FROM (
  SELECT
    from_stage_id AS stage_id,
    SUM(transitions_count) AS total
  FROM @this_model
  GROUP BY
    from_stage_id
) AS transitions
FULL JOIN (
  SELECT
    stage_id,
    COUNT(stage_exit_timestamp) AS total
  FROM pipedrive_analytics.fct_stage_entries
  GROUP BY
    stage_id
) AS exits
  ON transitions.stage_id = exits.stage_id
WHERE
  COALESCE(transitions.total, 0) <> COALESCE(exits.total, 0)
