AUDIT (
  name stage_activity_consistency,
  blocking FALSE
);

/* A returned row is a month in which more deals had a sales call than entered the stage it belongs to. */
SELECT DISTINCT
  calls.month
FROM @this_model AS calls
JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON calls.funnel_step = steps.funnel_step AND steps.source = 'activity'
JOIN @this_model AS stages
  ON calls.month = stages.month AND FLOOR(calls.funnel_step) = stages.funnel_step
WHERE
  calls.deals_count > stages.deals_count
