AUDIT (
  name funnel_progression_logic,
  blocking FALSE,
  defaults (
    first_stages = 6
  )
);

/* A returned row is a month in which a stage, of the first six, has more deals than the stage before it. */
SELECT DISTINCT
  later.month
FROM @funnel_in_order() AS steps
JOIN @this_model AS later
  ON steps.funnel_step = later.funnel_step
JOIN @this_model AS earlier
  ON steps.previous_stage_step = earlier.funnel_step AND later.month = earlier.month
WHERE
  steps.source = 'stage'
  AND steps.stage_position <= @first_stages
  AND later.deals_count > earlier.deals_count
