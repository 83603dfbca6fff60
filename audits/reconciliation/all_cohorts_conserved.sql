AUDIT (
  name all_cohorts_conserved
);

/* A returned row is a step with other deals in one of the three countings than fct_deal_funnel_steps has, or of other deals than all those that rep_funnel_cohorts follows. */
SELECT
  COALESCE(here.funnel_step, steps.funnel_step) AS funnel_step
FROM @this_model AS here
FULL JOIN (
  SELECT
    funnel_step,
    COUNT(CASE WHEN is_reached THEN 1 END) AS reached,
    COUNT(CASE WHEN is_reached_at_least THEN 1 END) AS reached_at_least,
    COUNT(CASE WHEN is_reached_in_order THEN 1 END) AS reached_in_order
  FROM pipedrive_analytics.fct_deal_funnel_steps
  GROUP BY
    funnel_step
) AS steps
  ON here.funnel_step = steps.funnel_step
CROSS JOIN (
  SELECT
    SUM(cohort_deals_count) AS created
  FROM (
    SELECT DISTINCT
      cohort_month,
      cohort_deals_count
    FROM pipedrive_analytics.rep_funnel_cohorts
  ) AS months
) AS cohorts
WHERE
  COALESCE(here.created_deals_count, 0) <> COALESCE(cohorts.created, 0)
  OR COALESCE(here.reached_deals_count, 0) <> COALESCE(steps.reached, 0)
  OR COALESCE(here.reached_at_least_deals_count, 0) <> COALESCE(steps.reached_at_least, 0)
  OR COALESCE(here.reached_in_order_deals_count, 0) <> COALESCE(steps.reached_in_order, 0)
