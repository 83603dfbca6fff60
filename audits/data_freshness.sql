AUDIT (
  name data_freshness,
  blocking FALSE,
  defaults (
    max_age_months = 24
  )
);

/* The returned row is the latest month that has begun: more than max_age_months lie between it and the execution month. */
SELECT
  MAX(month) AS latest_month
FROM @this_model
WHERE
  month <= @execution_ds::DATE
HAVING
  MAX(month) < DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE - INTERVAL '1 MONTH' * @max_age_months
