AUDIT (
  name stage_activity_consistency,
  blocking FALSE
);

/* A returned row is a month in which more deals had a sales call than entered the stage it follows. */
SELECT DISTINCT
  calls.month
FROM @funnel_in_order() AS steps
JOIN @this_model AS calls
  ON steps.funnel_step = calls.funnel_step
JOIN @this_model AS stages
  ON steps.previous_stage_step = stages.funnel_step AND calls.month = stages.month
WHERE
  steps.source = 'activity' AND calls.deals_count > stages.deals_count
