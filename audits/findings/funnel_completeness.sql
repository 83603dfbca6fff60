AUDIT (
  name funnel_completeness,
  blocking FALSE
);

/* A returned row is a finding of the check of this name: a month of the report without deals in one of the first two stages. */
SELECT
  finding
FROM @this_model
WHERE
  check_name = 'funnel_completeness'
