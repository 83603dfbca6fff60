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
        reached_in_order_deals_count
      )
    ),
    unique_combination_of_columns(columns := (cohort_month, funnel_step)),
    non_negative(columns := median_days_to_reach),
    cohorts_conserved,
    cohorts_do_not_grow
  ),
  description 'One row per month of creation and funnel step: the deals created in the month, and how many of them ever reached the step. Join dim_funnel_steps on funnel_step. Answers how many of a month''s new deals get through, and where they get stuck. There are three countings: a deal that skipped a stage has not reached it in any order, but at least it, and the later one not in order. They differ as much as deals skip.',
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
    conversion_from_previous_stage_step = 'reached_deals_count / that of the previous stage step; over 1 when deals skip that',
    conversion_at_least_from_previous_stage_step = 'reached_at_least_deals_count / that of the previous stage step',
    conversion_in_order_from_previous_stage_step = 'reached_in_order_deals_count / that of the previous stage step',
    median_days_to_reach = 'Median of days from creation to the first time in the step, of deals that reached it in any order; reached before creation is left out'
  )
);

WITH steps AS (
  SELECT
    funnel_step,
    kpi_name,
    previous_stage_step
  FROM pipedrive_analytics.dim_funnel_steps
), deals AS (
  SELECT
    deal_id,
    created_at,
    DATE_TRUNC('MONTH', created_at)::DATE AS cohort_month,
    furthest_funnel_step,
    furthest_funnel_step_in_order
  FROM pipedrive_analytics.fct_deals
), cohorts AS (
  SELECT
    cohort_month,
    COUNT(*) AS cohort_deals_count
  FROM deals
  GROUP BY
    cohort_month
), deals_by_furthest_stage AS (
  SELECT
    cohort_month,
    furthest_funnel_step,
    COUNT(*) AS deals_count
  FROM deals
  GROUP BY
    cohort_month,
    furthest_funnel_step
), deals_beyond AS (
  /* Of a stage: those in it or in a later one. Of a call: those in a later stage */
  SELECT
    deals_by_furthest_stage.cohort_month,
    steps.funnel_step,
    SUM(deals_by_furthest_stage.deals_count) AS deals_count
  FROM steps
  JOIN deals_by_furthest_stage
    ON deals_by_furthest_stage.furthest_funnel_step >= steps.funnel_step
  GROUP BY
    deals_by_furthest_stage.cohort_month,
    steps.funnel_step
), reached AS (
  /* A call is reached in order when the stages before it are; before the first there are none */
  SELECT
    deal_id,
    funnel_step,
    stage_entry_timestamp AS reached_at,
    funnel_step AS stage_step
  FROM pipedrive_analytics.fct_deal_stage_history
  WHERE
    NOT funnel_step IS NULL
  UNION ALL
  SELECT
    calls.deal_id,
    calls.funnel_step,
    MIN(calls.due_timestamp) AS reached_at,
    steps.previous_stage_step AS stage_step
  FROM pipedrive_analytics.fct_activities AS calls
  JOIN steps
    ON calls.funnel_step = steps.funnel_step
  WHERE
    NOT calls.due_timestamp IS NULL
  GROUP BY
    calls.deal_id,
    calls.funnel_step,
    steps.previous_stage_step
), counts AS (
  SELECT
    deals.cohort_month,
    reached.funnel_step,
    COUNT(*) AS reached_deals_count,
    COUNT(
      CASE
        WHEN reached.stage_step IS NULL
        OR reached.stage_step <= deals.furthest_funnel_step_in_order
        THEN 1
      END
    ) AS reached_in_order_deals_count,
    COUNT(
      CASE
        WHEN (
          reached.stage_step IS NULL OR reached.stage_step <= deals.furthest_funnel_step
        )
        AND (
          deals.furthest_funnel_step IS NULL
          OR deals.furthest_funnel_step < reached.funnel_step
        )
        THEN 1
      END
    ) AS called_last_deals_count,
    @percentile(
      0.5,
      CASE
        WHEN reached.reached_at >= deals.created_at
        THEN @seconds_between(deals.created_at, reached.reached_at)
      END
    ) AS median_seconds_to_reach
  FROM deals
  JOIN reached
    ON deals.deal_id = reached.deal_id
  GROUP BY
    deals.cohort_month,
    reached.funnel_step
), grid AS (
  SELECT
    cohorts.cohort_month,
    steps.kpi_name,
    steps.funnel_step,
    cohorts.cohort_deals_count,
    COALESCE(counts.reached_deals_count, 0) AS reached_deals_count,
    COALESCE(deals_beyond.deals_count, 0) + COALESCE(counts.called_last_deals_count, 0) AS reached_at_least_deals_count,
    COALESCE(counts.reached_in_order_deals_count, 0) AS reached_in_order_deals_count,
    steps.previous_stage_step,
    counts.median_seconds_to_reach
  FROM cohorts
  CROSS JOIN steps
  LEFT JOIN counts
    ON cohorts.cohort_month = counts.cohort_month
    AND steps.funnel_step = counts.funnel_step
  LEFT JOIN deals_beyond
    ON cohorts.cohort_month = deals_beyond.cohort_month
    AND steps.funnel_step = deals_beyond.funnel_step
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
  @share(grid.reached_deals_count, previous_steps.reached_deals_count)::DECIMAL(12, 4) AS conversion_from_previous_stage_step,
  @share(grid.reached_at_least_deals_count, previous_steps.reached_at_least_deals_count)::DECIMAL(12, 4) AS conversion_at_least_from_previous_stage_step,
  @share(grid.reached_in_order_deals_count, previous_steps.reached_in_order_deals_count)::DECIMAL(12, 4) AS conversion_in_order_from_previous_stage_step,
  @days(grid.median_seconds_to_reach)::DECIMAL(12, 2) AS median_days_to_reach
FROM grid
LEFT JOIN grid AS previous_steps
  ON grid.cohort_month = previous_steps.cohort_month
  AND grid.previous_stage_step = previous_steps.funnel_step;

@postgres_analyze()
