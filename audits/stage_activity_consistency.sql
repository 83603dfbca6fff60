AUDIT (
  name stage_activity_consistency,
  blocking FALSE
);

/* A returned row is a month in which more deals had a sales call than entered the stage it follows. */
SELECT DISTINCT
  calls.month
FROM (
  SELECT
    calls.funnel_step,
    MAX(stages.funnel_step) AS stage_before
  FROM pipedrive_analytics.dim_funnel_steps AS calls
  JOIN pipedrive_analytics.dim_funnel_steps AS stages
    ON calls.funnel_step > stages.funnel_step
  WHERE
    calls.source = 'activity' AND stages.source = 'stage'
  GROUP BY
    calls.funnel_step
) AS steps
JOIN @this_model AS calls
  ON steps.funnel_step = calls.funnel_step
JOIN @this_model AS stages
  ON steps.stage_before = stages.funnel_step AND calls.month = stages.month
WHERE
  calls.deals_count > stages.deals_count
