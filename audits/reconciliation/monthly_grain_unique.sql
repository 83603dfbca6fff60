AUDIT (
  name monthly_grain_unique
);

/* A returned row is a month and step that the report holds more than once. */
SELECT
  month,
  funnel_step,
  COUNT(*) AS occurrences
FROM @this_model
GROUP BY
  month,
  funnel_step
HAVING
  COUNT(*) > 1
