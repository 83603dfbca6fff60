AUDIT (
  name data_freshness,
  blocking FALSE
);

/* The returned row is the finding of the check of this name: the latest month of the report, too old. */
SELECT
  finding
FROM @this_model
WHERE
  check_name = 'data_freshness'
