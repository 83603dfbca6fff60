MODEL (
  name pipedrive_analytics.rep_funnel_all_cohorts,
  kind FULL,
  tags (marts, report),
  grain funnel_step,
  audits (
    not_null(
      columns := (
        kpi_name,
        funnel_step,
        created_deals_count,
        reached_deals_count,
        reached_at_least_deals_count,
        reached_in_order_deals_count,
        reached_both_deals_count,
        followed_for_30_days_deals_count,
        followed_for_60_days_deals_count,
        followed_for_90_days_deals_count
      )
    ),
    unique_values(columns := funnel_step),
    non_negative(columns := median_days_to_reach),
    forall(
      criteria := (
        followed_for_30_days_deals_count <= created_deals_count,
        followed_for_60_days_deals_count <= followed_for_30_days_deals_count,
        followed_for_90_days_deals_count <= followed_for_60_days_deals_count,
        COALESCE(reached_within_30_days_deals_count, 0) <= followed_for_30_days_deals_count,
        COALESCE(reached_within_60_days_deals_count, 0) <= followed_for_60_days_deals_count,
        COALESCE(reached_within_90_days_deals_count, 0) <= followed_for_90_days_deals_count
      )
    ),
    all_cohorts_conserved
  ),
  description 'One row per funnel step: all deals, and how many of them ever reached the step. Its counts are the sums of rep_funnel_cohorts over all months of creation, and have its three countings; they stand apart from it so that nobody adds both. Join dim_funnel_steps on funnel_step. Answers how far deals get in the long run. The newest deals are still on their way, except in the counts within days, which leave out months that are too young.',
  column_descriptions (
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    created_deals_count = 'Number of deals, of all months of creation',
    reached_deals_count = 'Number of them that ever reached the step, in any order',
    reached_at_least_deals_count = 'Number of them that reached the step or a later stage',
    reached_in_order_deals_count = 'Number of them that reached it and had passed every earlier stage of the funnel before',
    share_of_created = 'reached_deals_count / created_deals_count: 0.25 is 25 %',
    share_of_created_at_least = 'reached_at_least_deals_count / created_deals_count',
    share_of_created_in_order = 'reached_in_order_deals_count / created_deals_count',
    previous_stage_step = 'The last stage step of the funnel before this one; NULL for the first',
    reached_both_deals_count = 'Number of deals that reached the step and the previous stage step, in any order; equal to reached_deals_count for the first step',
    conversion_from_previous_stage_step = 'reached_both_deals_count / reached_deals_count of the previous stage step: the share of the deals that were in that step and came to this one; never over 1',
    ratio_to_previous_stage_step = 'reached_deals_count / that of the previous stage step: partly other deals, over 1 when deals skip that',
    conversion_at_least_from_previous_stage_step = 'reached_at_least_deals_count / that of the previous stage step',
    conversion_in_order_from_previous_stage_step = 'reached_in_order_deals_count / that of the previous stage step',
    followed_for_30_days_deals_count = 'Number of deals created in months all of whose deals were 30 days old when the log ended: whom reached_within_30_days_deals_count is of',
    reached_within_30_days_deals_count = 'Number of these that reached the step, in any order, within 30 days of their creation; NULL when there are no such months',
    share_within_30_days = 'reached_within_30_days_deals_count / followed_for_30_days_deals_count',
    followed_for_60_days_deals_count = 'The same deals for 60 days',
    reached_within_60_days_deals_count = 'The same count for 60 days',
    share_within_60_days = 'The same share for 60 days',
    followed_for_90_days_deals_count = 'The same deals for 90 days',
    reached_within_90_days_deals_count = 'The same count for 90 days',
    share_within_90_days = 'The same share for 90 days',
    median_days_to_reach = 'Median of days from creation to the first time in the step, of deals that reached it in any order; reached before creation is left out'
  )
);

WITH sums AS (
  SELECT
    kpi_name,
    funnel_step,
    previous_stage_step,
    SUM(cohort_deals_count) AS created_deals_count,
    SUM(reached_deals_count) AS reached_deals_count,
    SUM(reached_at_least_deals_count) AS reached_at_least_deals_count,
    SUM(reached_in_order_deals_count) AS reached_in_order_deals_count,
    SUM(reached_both_deals_count) AS reached_both_deals_count,
    SUM(
      CASE
        WHEN NOT reached_within_30_days_deals_count IS NULL
        THEN cohort_deals_count
        ELSE 0
      END
    ) AS followed_for_30_days,
    SUM(
      CASE
        WHEN NOT reached_within_60_days_deals_count IS NULL
        THEN cohort_deals_count
        ELSE 0
      END
    ) AS followed_for_60_days,
    SUM(
      CASE
        WHEN NOT reached_within_90_days_deals_count IS NULL
        THEN cohort_deals_count
        ELSE 0
      END
    ) AS followed_for_90_days,
    SUM(reached_within_30_days_deals_count) AS within_30_days,
    SUM(reached_within_60_days_deals_count) AS within_60_days,
    SUM(reached_within_90_days_deals_count) AS within_90_days
  FROM pipedrive_analytics.rep_funnel_cohorts
  GROUP BY
    kpi_name,
    funnel_step,
    previous_stage_step
), medians AS (
  SELECT
    funnel_step,
    @percentile(0.5, seconds_to_reach) AS median_seconds_to_reach
  FROM pipedrive_analytics.fct_deal_funnel_steps
  WHERE
    NOT seconds_to_reach IS NULL /* or PostgreSQL sorts these rows as well */
  GROUP BY
    funnel_step
)
SELECT
  sums.kpi_name::TEXT AS kpi_name,
  sums.funnel_step::DECIMAL(4, 1) AS funnel_step,
  sums.created_deals_count::BIGINT AS created_deals_count,
  sums.reached_deals_count::BIGINT AS reached_deals_count,
  sums.reached_at_least_deals_count::BIGINT AS reached_at_least_deals_count,
  sums.reached_in_order_deals_count::BIGINT AS reached_in_order_deals_count,
  @share(sums.reached_deals_count, sums.created_deals_count)::DECIMAL(12, 4) AS share_of_created,
  @share(sums.reached_at_least_deals_count, sums.created_deals_count)::DECIMAL(12, 4) AS share_of_created_at_least,
  @share(sums.reached_in_order_deals_count, sums.created_deals_count)::DECIMAL(12, 4) AS share_of_created_in_order,
  sums.previous_stage_step::DECIMAL(4, 1) AS previous_stage_step,
  sums.reached_both_deals_count::BIGINT AS reached_both_deals_count,
  @share(sums.reached_both_deals_count, previous_steps.reached_deals_count)::DECIMAL(12, 4) AS conversion_from_previous_stage_step,
  @share(sums.reached_deals_count, previous_steps.reached_deals_count)::DECIMAL(12, 4) AS ratio_to_previous_stage_step,
  @share(sums.reached_at_least_deals_count, previous_steps.reached_at_least_deals_count)::DECIMAL(12, 4) AS conversion_at_least_from_previous_stage_step,
  @share(sums.reached_in_order_deals_count, previous_steps.reached_in_order_deals_count)::DECIMAL(12, 4) AS conversion_in_order_from_previous_stage_step,
  sums.followed_for_30_days::BIGINT AS followed_for_30_days_deals_count,
  sums.within_30_days::BIGINT AS reached_within_30_days_deals_count,
  @share(sums.within_30_days, sums.followed_for_30_days)::DECIMAL(12, 4) AS share_within_30_days,
  sums.followed_for_60_days::BIGINT AS followed_for_60_days_deals_count,
  sums.within_60_days::BIGINT AS reached_within_60_days_deals_count,
  @share(sums.within_60_days, sums.followed_for_60_days)::DECIMAL(12, 4) AS share_within_60_days,
  sums.followed_for_90_days::BIGINT AS followed_for_90_days_deals_count,
  sums.within_90_days::BIGINT AS reached_within_90_days_deals_count,
  @share(sums.within_90_days, sums.followed_for_90_days)::DECIMAL(12, 4) AS share_within_90_days,
  @days(medians.median_seconds_to_reach)::DECIMAL(12, 2) AS median_days_to_reach
FROM sums
LEFT JOIN sums AS previous_steps
  ON sums.previous_stage_step = previous_steps.funnel_step
LEFT JOIN medians
  ON sums.funnel_step = medians.funnel_step;

@postgres_analyze()
