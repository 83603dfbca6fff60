AUDIT (
  name cohorts_do_not_grow
);

/* A returned row is a cohort and step that more deals reached in order, or reached at least, than the stage before it, or in order than in any order, or more than the cohort has. */
SELECT
  cohorts.cohort_month,
  cohorts.funnel_step
FROM @this_model AS cohorts
LEFT JOIN @this_model AS previous_steps
  ON cohorts.cohort_month = previous_steps.cohort_month
  AND cohorts.previous_stage_step = previous_steps.funnel_step
WHERE
  cohorts.reached_in_order_deals_count > LEAST(
    cohorts.reached_deals_count,
    COALESCE(previous_steps.reached_in_order_deals_count, cohorts.cohort_deals_count)
  )
  OR cohorts.reached_at_least_deals_count > COALESCE(previous_steps.reached_at_least_deals_count, cohorts.cohort_deals_count)
  OR cohorts.reached_deals_count > cohorts.cohort_deals_count
