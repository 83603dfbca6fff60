AUDIT (
  name data_freshness,
  blocking FALSE
);

/* The returned row is the latest month that has begun, when more months than the variable freshness_max_age_months allows lie between it and the execution month. */
SELECT
  MAX(month) AS latest_month
FROM @this_model
WHERE
  month <= @execution_ds::DATE
HAVING
  MAX(month) < DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE - INTERVAL '1 MONTH' * @freshness_max_age_months::INT
