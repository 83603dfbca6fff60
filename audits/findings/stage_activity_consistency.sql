AUDIT (
  name stage_activity_consistency,
  blocking FALSE
);

/* A returned row is a finding of the check of this name: a month in which more deals had a sales call than entered the stage it follows. */
SELECT
  finding
FROM @this_model
WHERE
  check_name = 'stage_activity_consistency'
