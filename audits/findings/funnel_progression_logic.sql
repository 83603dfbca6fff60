AUDIT (
  name funnel_progression_logic,
  blocking FALSE
);

/* A returned row is a finding of the check of this name: a month in which one of the stages 2 to 6 has more deals than the stage before. */
SELECT
  finding
FROM @this_model
WHERE
  check_name = 'funnel_progression_logic'
