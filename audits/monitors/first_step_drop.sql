AUDIT (
  name first_step_drop,
  blocking FALSE
);

/* The returned row is the last full month, when its first step has fallen by more than the variable monitor_first_step_drop allows. */
SELECT
  trends.month,
  trends.deals_count,
  trends.previous_month_deals_count
FROM @this_model AS trends
WHERE
  trends.month = (
    SELECT
      MAX(month)
    FROM @this_model
    WHERE
      month + INTERVAL '1 MONTH' <= @execution_ds::DATE
  )
  AND trends.funnel_step = (
    SELECT
      MIN(funnel_step)
    FROM pipedrive_analytics.dim_funnel_steps
    WHERE
      source = 'stage'
  )
  AND trends.month_over_month_change < -@monitor_first_step_drop::DECIMAL(12, 4)
