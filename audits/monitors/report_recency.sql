AUDIT (
  name report_recency,
  blocking FALSE
);

/* The returned row is the latest month that has begun, when more months than the variable monitor_recency_months allows lie between it and the execution month. */
SELECT
  latest_month
FROM @failed_rows(data_freshness, freshness_max_age_months := @monitor_recency_months) AS stale
