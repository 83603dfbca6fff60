AUDIT (
  name steps_gone_silent,
  blocking FALSE
);

/* A returned row is a full month in which no deal reached a step, after deals did in each of the months before; the variable monitor_silent_after_months says how many. */
SELECT
  trends.month,
  trends.funnel_step
FROM (
  SELECT
    month,
    funnel_step,
    deals_count,
    COUNT(CASE WHEN deals_count > 0 THEN 1 END) OVER (
      PARTITION BY funnel_step
      ORDER BY month
      ROWS BETWEEN @monitor_silent_after_months::INT PRECEDING AND 1 PRECEDING
    ) AS months_with_deals
  FROM @this_model
) AS trends
WHERE
  trends.deals_count = 0
  AND trends.months_with_deals = @monitor_silent_after_months::INT
  AND trends.month + INTERVAL '1 MONTH' <= @execution_ds::DATE
