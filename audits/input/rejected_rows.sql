AUDIT (
  name rejected_rows,
  blocking FALSE
);

/* A returned row is a row of the latest export that could not be landed: the numbers lack it. */
SELECT
  file_name,
  line,
  column_name,
  reason
FROM @this_model
