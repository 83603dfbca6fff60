AUDIT (
  name data_freshness,
  blocking FALSE,
  defaults (
    max_age_months = 24
  )
);

/* The returned row is the latest month: it began more than max_age_months before the execution date. */
SELECT
  MAX(month) AS latest_month
FROM @this_model
HAVING
  MAX(month) < DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE - INTERVAL '1 MONTH' * @max_age_months
