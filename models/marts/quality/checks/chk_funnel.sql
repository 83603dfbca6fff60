MODEL (
  name pipedrive_quality.chk_funnel,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what the monthly report looks like. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH steps_without_deals AS (
  SELECT
    steps.funnel_step,
    steps.source,
    steps.key
  FROM pipedrive_analytics.dim_funnel_steps AS steps
  LEFT JOIN pipedrive_analytics.rep_sales_funnel_monthly AS report
    ON steps.funnel_step = report.funnel_step
  WHERE
    report.funnel_step IS NULL
), funnel_completeness AS (
  SELECT
    months.month,
    steps.funnel_step AS missing_step
  FROM (
    SELECT DISTINCT
      month
    FROM pipedrive_analytics.rep_sales_funnel_monthly
  ) AS months
  CROSS JOIN pipedrive_analytics.dim_funnel_steps AS steps
  LEFT JOIN pipedrive_analytics.rep_sales_funnel_monthly AS report
    ON months.month = report.month AND steps.funnel_step = report.funnel_step
  WHERE
    steps.source = 'stage' AND steps.stage_position <= 2 AND report.month IS NULL
), funnel_progression_logic AS (
  SELECT DISTINCT
    later.month
  FROM pipedrive_analytics.dim_funnel_steps AS steps
  JOIN pipedrive_analytics.rep_sales_funnel_monthly AS later
    ON steps.funnel_step = later.funnel_step
  JOIN pipedrive_analytics.rep_sales_funnel_monthly AS earlier
    ON steps.previous_stage_step = earlier.funnel_step AND later.month = earlier.month
  WHERE
    steps.source = 'stage'
    AND steps.stage_position <= 6
    AND later.deals_count > earlier.deals_count
), stage_activity_consistency AS (
  SELECT DISTINCT
    calls.month
  FROM pipedrive_analytics.dim_funnel_steps AS steps
  JOIN pipedrive_analytics.rep_sales_funnel_monthly AS calls
    ON steps.funnel_step = calls.funnel_step
  JOIN pipedrive_analytics.rep_sales_funnel_monthly AS stages
    ON steps.previous_stage_step = stages.funnel_step AND calls.month = stages.month
  WHERE
    steps.source = 'activity' AND calls.deals_count > stages.deals_count
), months_in_the_future AS (
  SELECT
    month,
    funnel_step
  FROM pipedrive_analytics.rep_sales_funnel_monthly
  WHERE
    month > @execution_ds::DATE
), months_not_covered AS (
  SELECT
    report.month
  FROM pipedrive_analytics.rep_sales_funnel_monthly AS report
  LEFT JOIN pipedrive_analytics.rep_sales_funnel_trends AS trends
    ON report.month = trends.month
  WHERE
    trends.month IS NULL
  UNION
  SELECT
    (
      months.month + INTERVAL '1 MONTH'
    )::DATE AS month
  FROM (
    SELECT
      month,
      is_complete_month,
      LEAD(month) OVER (ORDER BY month) AS next_month
    FROM (
      SELECT DISTINCT
        month,
        is_complete_month
      FROM pipedrive_analytics.rep_sales_funnel_trends
    ) AS grid
  ) AS months
  WHERE
    months.is_complete_month
    AND COALESCE(months.month + INTERVAL '1 MONTH' < months.next_month, TRUE)
)
SELECT
  'steps_without_deals'::TEXT AS check_name,
  @row_as_text(funnel_step, source, key)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM steps_without_deals
UNION ALL
SELECT
  'funnel_completeness'::TEXT AS check_name,
  @row_as_text(month, missing_step)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM funnel_completeness
UNION ALL
SELECT
  'funnel_progression_logic'::TEXT AS check_name,
  @row_as_text(month)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM funnel_progression_logic
UNION ALL
SELECT
  'stage_activity_consistency'::TEXT AS check_name,
  @row_as_text(month)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM stage_activity_consistency
UNION ALL
SELECT
  'months_in_the_future'::TEXT AS check_name,
  @row_as_text(month, funnel_step)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM months_in_the_future
UNION ALL
SELECT
  'months_not_covered'::TEXT AS check_name,
  @row_as_text(month)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM months_not_covered
