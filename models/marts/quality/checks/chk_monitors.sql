MODEL (
  name pipedrive_quality.chk_monitors,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: how the latest months compare, and how old the data is. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH first_step_drop AS (
  SELECT
    trends.month,
    trends.deals_count,
    trends.previous_month_deals_count
  FROM pipedrive_analytics.rep_sales_funnel_trends AS trends
  WHERE
    trends.month = (
      SELECT
        MAX(month)
      FROM pipedrive_analytics.rep_sales_funnel_trends
      WHERE
        is_complete_month AND month + INTERVAL '1 MONTH' <= @execution_ds::DATE
    )
    AND trends.funnel_step = (
      SELECT
        MIN(funnel_step)
      FROM pipedrive_analytics.dim_funnel_steps
      WHERE
        source = 'stage'
    )
    AND trends.month_over_month_change < -@monitor_first_step_drop::DECIMAL(12, 4)
), months_before AS (
  SELECT
    month,
    funnel_step,
    deals_count,
    is_complete_month,
    COUNT(CASE WHEN deals_count > 0 THEN 1 END) OVER (
      PARTITION BY funnel_step
      ORDER BY month
      ROWS BETWEEN @monitor_silent_after_months::INT PRECEDING AND 1 PRECEDING
    ) AS months_with_deals
  FROM pipedrive_analytics.rep_sales_funnel_trends
), steps_gone_silent AS (
  SELECT
    month,
    funnel_step
  FROM months_before
  WHERE
    deals_count = 0
    AND months_with_deals = @monitor_silent_after_months::INT
    AND is_complete_month
    AND month + INTERVAL '1 MONTH' <= @execution_ds::DATE
), no_recent_changes AS (
  SELECT
    MAX(last_changed_at) AS last_changed_at
  FROM pipedrive_analytics.fct_deals
  WHERE
    last_changed_at < @execution_ds::DATE + INTERVAL '1 DAY'
  HAVING
    MAX(last_changed_at) < @execution_ds::DATE - INTERVAL '1 DAY' * @monitor_days_without_change::INT
), months_of_age AS (
  SELECT
    MAX(month) AS latest_month,
    (
      EXTRACT(YEAR FROM @execution_ds::DATE) - EXTRACT(YEAR FROM MAX(month))
    ) * 12 + EXTRACT(MONTH FROM @execution_ds::DATE) - EXTRACT(MONTH FROM MAX(month)) AS months_old
  FROM pipedrive_analytics.rep_sales_funnel_monthly
  WHERE
    month <= @execution_ds::DATE
), report_recency AS (
  SELECT
    latest_month
  FROM months_of_age
  WHERE
    months_old > @monitor_recency_months::INT
), data_freshness AS (
  SELECT
    latest_month
  FROM months_of_age
  WHERE
    months_old > @freshness_max_age_months::INT
)
SELECT
  'first_step_drop'::TEXT AS check_name,
  @row_as_text(month, deals_count, previous_month_deals_count)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM first_step_drop
UNION ALL
SELECT
  'steps_gone_silent'::TEXT AS check_name,
  @row_as_text(month, funnel_step)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM steps_gone_silent
UNION ALL
SELECT
  'no_recent_changes'::TEXT AS check_name,
  @row_as_text(last_changed_at)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM no_recent_changes
UNION ALL
SELECT
  'report_recency'::TEXT AS check_name,
  @row_as_text(latest_month)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM report_recency
UNION ALL
SELECT
  'data_freshness'::TEXT AS check_name,
  @row_as_text(latest_month)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM data_freshness
