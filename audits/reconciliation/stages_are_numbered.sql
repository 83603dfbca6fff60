AUDIT (
  name stages_are_numbered
);

/* A returned row says that the stage steps do not stand at 1, 2, 3 and so on among each other: something else was counted with them. */
SELECT
  COUNT(*) AS stages_count,
  COUNT(DISTINCT stage_position) AS positions_count,
  MAX(stage_position) AS last_position
FROM @this_model
WHERE
  source = 'stage'
HAVING
  COUNT(*) <> COUNT(DISTINCT stage_position) OR COUNT(*) <> MAX(stage_position)
