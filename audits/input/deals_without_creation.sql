AUDIT (
  name deals_without_creation,
  blocking FALSE
);

/* A returned row is a deal without a creation in the log. It counts as created at its first change. */
SELECT
  deal_id
FROM @this_model
GROUP BY
  deal_id
HAVING
  COUNT(CASE WHEN field_key = 'add_time' THEN 1 END) = 0
