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
FROM (
  SELECT
    funnel_step,
    LAG(funnel_step) OVER (ORDER BY funnel_step) AS step_before,
    ROW_NUMBER() OVER (ORDER BY funnel_step) AS position
  FROM pipedrive_analytics.dim_funnel_steps
  WHERE
    source = 'stage'
) AS steps
JOIN @this_model AS later
  ON steps.funnel_step = later.funnel_step
JOIN @this_model AS earlier
  ON steps.step_before = earlier.funnel_step AND later.month = earlier.month
WHERE
  steps.position <= @first_stages AND later.deals_count > earlier.deals_count
