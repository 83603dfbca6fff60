MODEL (
  name pipedrive_analytics.rep_funnel_cohorts,
  kind FULL,
  tags (marts, report),
  grain (cohort_month, funnel_step),
  audits (
    not_null(
      columns := (
        cohort_month,
        kpi_name,
        funnel_step,
        cohort_deals_count,
        reached_deals_count,
        reached_at_least_deals_count,
        reached_in_order_deals_count,
        reached_both_deals_count
      )
    ),
    unique_combination_of_columns(columns := (cohort_month, funnel_step)),
    non_negative(columns := median_days_to_reach),
    cohorts_conserved,
    cohorts_do_not_grow
  ),
  description 'One row per month of creation and funnel step: the deals created in the month, and how many of them ever reached the step. Join dim_funnel_steps on funnel_step; fct_deal_funnel_steps has the deals that are counted. Answers how many of a month''s new deals get through, and where they get stuck. There are three countings: a deal that skipped a stage has not reached it in any order, but at least it, and the later one not in order. They differ as much as deals skip.',
  column_descriptions (
    cohort_month = 'First day of the month in which the deals were created, UTC',
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    cohort_deals_count = 'Number of deals created in the month',
    reached_deals_count = 'Number of them that ever reached the step, in any order',
    reached_at_least_deals_count = 'Number of them that reached the step or a later stage: it falls from step to step, though deals skip. A call counts for deals that got at least to the stage before it',
    reached_in_order_deals_count = 'Number of them that reached it and had, by first entries, passed every earlier stage of the funnel before, one after the other; for a call the stages before it, whenever it was held',
    share_of_cohort = 'reached_deals_count / cohort_deals_count: 0.25 is 25 %',
    share_of_cohort_at_least = 'reached_at_least_deals_count / cohort_deals_count',
    share_of_cohort_in_order = 'reached_in_order_deals_count / cohort_deals_count',
    previous_stage_step = 'The last stage step of the funnel before this one; NULL for the first',
    reached_both_deals_count = 'Number of them that reached the step and the previous stage step, in any order; equal to reached_deals_count for the first step',
    conversion_from_previous_stage_step = 'reached_both_deals_count / reached_deals_count of the previous stage step: the share of the deals that were in that step and came to this one; never over 1',
    ratio_to_previous_stage_step = 'reached_deals_count / that of the previous stage step: partly other deals, over 1 when deals skip that',
    conversion_at_least_from_previous_stage_step = 'reached_at_least_deals_count / that of the previous stage step',
    conversion_in_order_from_previous_stage_step = 'reached_in_order_deals_count / that of the previous stage step',
    reached_within_30_days_deals_count = 'Number of them that reached the step, in any order, within 30 days of their creation; NULL while the log ends before all deals of the month are 30 days old',
    reached_within_60_days_deals_count = 'The same for 60 days',
    reached_within_90_days_deals_count = 'The same for 90 days',
    median_days_to_reach = 'Median of days from creation to the first time in the step, of deals that reached it in any order; reached before creation is left out'
  )
);

WITH steps AS (
  SELECT
    funnel_step,
    kpi_name,
    previous_stage_step
  FROM pipedrive_analytics.dim_funnel_steps
), cohorts AS (
  SELECT
    DATE_TRUNC('MONTH', created_at)::DATE AS cohort_month,
    COUNT(*) AS cohort_deals_count
  FROM pipedrive_analytics.fct_deals
  GROUP BY
    DATE_TRUNC('MONTH', created_at)::DATE
), observed AS (
  SELECT
    @observed_until() AS observed_until
), counts AS (
  SELECT
    DATE_TRUNC('MONTH', created_at)::DATE AS cohort_month,
    funnel_step,
    COUNT(CASE WHEN is_reached THEN 1 END) AS reached_deals_count,
    COUNT(CASE WHEN is_reached_at_least THEN 1 END) AS reached_at_least_deals_count,
    COUNT(CASE WHEN is_reached_in_order THEN 1 END) AS reached_in_order_deals_count,
    COUNT(
      CASE WHEN is_reached AND COALESCE(is_previous_stage_step_reached, TRUE) THEN 1 END
    ) AS reached_both_deals_count,
    COUNT(CASE WHEN reached_at <= created_at + INTERVAL '30 DAYS' THEN 1 END) AS within_30_days,
    COUNT(CASE WHEN reached_at <= created_at + INTERVAL '60 DAYS' THEN 1 END) AS within_60_days,
    COUNT(CASE WHEN reached_at <= created_at + INTERVAL '90 DAYS' THEN 1 END) AS within_90_days,
    @percentile(0.5, seconds_to_reach) AS median_seconds_to_reach
  FROM pipedrive_analytics.fct_deal_funnel_steps
  GROUP BY
    DATE_TRUNC('MONTH', created_at)::DATE,
    funnel_step
), grid AS (
  SELECT
    cohorts.cohort_month,
    cohorts.cohort_month::TIMESTAMP + INTERVAL '1 MONTH' AS all_created_by,
    observed.observed_until,
    steps.kpi_name,
    steps.funnel_step,
    cohorts.cohort_deals_count,
    COALESCE(counts.reached_deals_count, 0) AS reached_deals_count,
    COALESCE(counts.reached_at_least_deals_count, 0) AS reached_at_least_deals_count,
    COALESCE(counts.reached_in_order_deals_count, 0) AS reached_in_order_deals_count,
    steps.previous_stage_step,
    COALESCE(counts.reached_both_deals_count, 0) AS reached_both_deals_count,
    COALESCE(counts.within_30_days, 0) AS within_30_days,
    COALESCE(counts.within_60_days, 0) AS within_60_days,
    COALESCE(counts.within_90_days, 0) AS within_90_days,
    counts.median_seconds_to_reach
  FROM cohorts
  CROSS JOIN observed
  CROSS JOIN steps
  LEFT JOIN counts
    ON cohorts.cohort_month = counts.cohort_month
    AND steps.funnel_step = counts.funnel_step
)
SELECT
  grid.cohort_month::DATE AS cohort_month,
  grid.kpi_name::TEXT AS kpi_name,
  grid.funnel_step::DECIMAL(4, 1) AS funnel_step,
  grid.cohort_deals_count::BIGINT AS cohort_deals_count,
  grid.reached_deals_count::BIGINT AS reached_deals_count,
  grid.reached_at_least_deals_count::BIGINT AS reached_at_least_deals_count,
  grid.reached_in_order_deals_count::BIGINT AS reached_in_order_deals_count,
  @share(grid.reached_deals_count, grid.cohort_deals_count)::DECIMAL(12, 4) AS share_of_cohort,
  @share(grid.reached_at_least_deals_count, grid.cohort_deals_count)::DECIMAL(12, 4) AS share_of_cohort_at_least,
  @share(grid.reached_in_order_deals_count, grid.cohort_deals_count)::DECIMAL(12, 4) AS share_of_cohort_in_order,
  grid.previous_stage_step::DECIMAL(4, 1) AS previous_stage_step,
  grid.reached_both_deals_count::BIGINT AS reached_both_deals_count,
  @share(grid.reached_both_deals_count, previous_steps.reached_deals_count)::DECIMAL(12, 4) AS conversion_from_previous_stage_step,
  @share(grid.reached_deals_count, previous_steps.reached_deals_count)::DECIMAL(12, 4) AS ratio_to_previous_stage_step,
  @share(grid.reached_at_least_deals_count, previous_steps.reached_at_least_deals_count)::DECIMAL(12, 4) AS conversion_at_least_from_previous_stage_step,
  @share(grid.reached_in_order_deals_count, previous_steps.reached_in_order_deals_count)::DECIMAL(12, 4) AS conversion_in_order_from_previous_stage_step,
  CASE
    WHEN grid.all_created_by + INTERVAL '30 DAYS' <= grid.observed_until
    THEN grid.within_30_days
  END::BIGINT AS reached_within_30_days_deals_count,
  CASE
    WHEN grid.all_created_by + INTERVAL '60 DAYS' <= grid.observed_until
    THEN grid.within_60_days
  END::BIGINT AS reached_within_60_days_deals_count,
  CASE
    WHEN grid.all_created_by + INTERVAL '90 DAYS' <= grid.observed_until
    THEN grid.within_90_days
  END::BIGINT AS reached_within_90_days_deals_count,
  @days(grid.median_seconds_to_reach)::DECIMAL(12, 2) AS median_days_to_reach
FROM grid
LEFT JOIN grid AS previous_steps
  ON grid.cohort_month = previous_steps.cohort_month
  AND grid.previous_stage_step = previous_steps.funnel_step;

@postgres_analyze()
