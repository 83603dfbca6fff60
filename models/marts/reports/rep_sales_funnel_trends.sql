MODEL (
  name pipedrive_analytics.rep_sales_funnel_trends,
  kind FULL,
  tags (marts, report),
  grain (month, funnel_step),
  audits (
    not_null(columns := (month, kpi_name, funnel_step, deals_count, is_complete_month)),
    unique_combination_of_columns(columns := (month, funnel_step)),
    monthly_report_conserved
  ),
  description 'One row per month and funnel step, without gaps from the first month of rep_sales_funnel_monthly to the month in which the log ends, with zero where no deal reached the step. A later month, as that of a call that is done before it is due, has the rows of that report only. Join dim_funnel_steps on funnel_step. Answers whether it gets better, and what is seasonal.',
  column_descriptions (
    month = 'First day of the month, UTC',
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    deals_count = 'Number of distinct deals that reached the step in the month; 0 when none did',
    is_complete_month = 'TRUE when the log reaches past the end of the month; FALSE for the month in which its newest change is, and for later ones',
    previous_month_deals_count = 'Number of deals in the month before; NULL in the first month',
    month_over_month_change = 'deals_count / previous_month_deals_count - 1: -0.25 is 25 % less; NULL when there were none, or the month is not complete',
    previous_year_deals_count = 'Number of deals in the same month of the year before; NULL before the first month',
    year_over_year_change = 'deals_count / previous_year_deals_count - 1; NULL when there were none, or the month is not complete',
    quarter_to_date_deals_count = 'Sum of deals_count from the first month of the quarter to this; NULL when the quarter begins before the first month',
    rolling_3_months_deals_count = 'Sum of deals_count of this month and the 2 before; NULL in the first 2 months',
    rolling_12_months_deals_count = 'Sum of deals_count of this month and the 11 before; NULL in the first 11 months'
  )
);

WITH observed AS (
  SELECT
    DATE_TRUNC('MONTH', @observed_until())::DATE AS last_observed_month
), bounds AS (
  SELECT
    MIN(report.month)::TIMESTAMP AS first_month,
    observed.last_observed_month,
    GREATEST(MAX(report.month), observed.last_observed_month)::TIMESTAMP AS last_month
  FROM pipedrive_analytics.rep_sales_funnel_monthly AS report
  CROSS JOIN observed
  GROUP BY
    observed.last_observed_month
), months AS (
  SELECT
    series.month::DATE AS month,
    COALESCE(series.month::DATE < bounds.last_observed_month, FALSE) AS is_complete_month,
    COALESCE(series.month::DATE <= bounds.last_observed_month, FALSE) AS is_observed
  FROM bounds
  CROSS JOIN LATERAL GENERATE_SERIES(bounds.first_month, bounds.last_month, INTERVAL '1 MONTH') AS series(month)
), grid AS (
  SELECT
    months.month,
    months.is_complete_month,
    months.is_observed OR NOT report.month IS NULL AS is_shown,
    steps.kpi_name,
    steps.funnel_step,
    COALESCE(report.deals_count, 0) AS deals_count
  FROM months
  CROSS JOIN pipedrive_analytics.dim_funnel_steps AS steps
  LEFT JOIN pipedrive_analytics.rep_sales_funnel_monthly AS report
    ON months.month = report.month AND steps.funnel_step = report.funnel_step
), windows AS (
  /* The grid has no gaps: so many rows before are so many months before */
  SELECT
    month,
    is_complete_month,
    is_shown,
    kpi_name,
    funnel_step,
    deals_count,
    LAG(deals_count) OVER (PARTITION BY funnel_step ORDER BY month) AS previous_month_deals_count,
    LAG(deals_count, 12) OVER (PARTITION BY funnel_step ORDER BY month) AS previous_year_deals_count,
    SUM(deals_count) OVER (PARTITION BY funnel_step, DATE_TRUNC('QUARTER', month) ORDER BY month) AS quarter_to_date,
    MIN(month) OVER () <= DATE_TRUNC('QUARTER', month)::DATE AS is_quarter_covered,
    SUM(deals_count) OVER (PARTITION BY funnel_step ORDER BY month ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS rolling_3_months,
    SUM(deals_count) OVER (PARTITION BY funnel_step ORDER BY month ROWS BETWEEN 11 PRECEDING AND CURRENT ROW) AS rolling_12_months,
    ROW_NUMBER() OVER (PARTITION BY funnel_step ORDER BY month) AS months_covered
  FROM grid
)
/* Months before a complete one are complete, so a change compares two of them */
SELECT
  month::DATE AS month,
  kpi_name::TEXT AS kpi_name,
  funnel_step::DECIMAL(4, 1) AS funnel_step,
  deals_count::BIGINT AS deals_count,
  is_complete_month::BOOLEAN AS is_complete_month,
  previous_month_deals_count::BIGINT AS previous_month_deals_count,
  CASE
    WHEN is_complete_month
    THEN @change(deals_count, previous_month_deals_count)
  END::DECIMAL(12, 4) AS month_over_month_change,
  previous_year_deals_count::BIGINT AS previous_year_deals_count,
  CASE
    WHEN is_complete_month
    THEN @change(deals_count, previous_year_deals_count)
  END::DECIMAL(12, 4) AS year_over_year_change,
  CASE WHEN is_quarter_covered THEN quarter_to_date END::BIGINT AS quarter_to_date_deals_count,
  CASE WHEN months_covered >= 3 THEN rolling_3_months END::BIGINT AS rolling_3_months_deals_count,
  CASE WHEN months_covered >= 12 THEN rolling_12_months END::BIGINT AS rolling_12_months_deals_count
FROM windows
WHERE
  is_shown;

@postgres_analyze()
