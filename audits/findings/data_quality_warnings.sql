AUDIT (
  name data_quality_warnings,
  blocking FALSE
);

/* A returned row is a check that warns and has found something: see its meaning and examples in the report. */
SELECT
  check_name,
  rows_count
FROM @this_model
WHERE
  severity = 'warning' AND rows_count > 0
