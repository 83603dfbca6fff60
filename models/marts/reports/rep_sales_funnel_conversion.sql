MODEL (
  name pipedrive_analytics.rep_sales_funnel_conversion,
  kind FULL,
  tags (marts, report),
  grain (month, funnel_step),
  audits (
    not_null(columns := (month, kpi_name, funnel_step, deals_count)),
    unique_combination_of_columns(columns := (month, funnel_step)),
    monthly_report_conserved,
    forall(
      criteria := (
        ABS(share_of_first_step * first_step_deals_count - deals_count) <= 0.0001 * first_step_deals_count
      )
    )
  ),
  description 'One row per month and funnel step of rep_sales_funnel_monthly, set against the first step and the stage before in the same month. Join dim_funnel_steps on funnel_step. Answers which share of a month''s new leads the other steps amount to. It compares the events of a month and follows no deal: rep_funnel_cohorts does. Over 1 is possible.',
  column_descriptions (
    month = 'First day of the month, UTC',
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    deals_count = 'Number of distinct deals that reached the step in the month',
    first_step_deals_count = 'Number of deals that reached the first stage of the funnel in the month; NULL when none did',
    share_of_first_step = 'deals_count / first_step_deals_count: 0.25 is 25 %',
    previous_stage_step = 'The last stage step of the funnel before this one; NULL for the first',
    previous_stage_step_deals_count = 'Number of deals that reached that in the month; NULL when none did',
    change_from_previous_stage_step = 'deals_count / previous_stage_step_deals_count - 1: -0.25 is 25 % less'
  )
);

WITH steps AS (
  SELECT
    funnel_step,
    previous_stage_step,
    MIN(CASE WHEN source = 'stage' THEN funnel_step END) OVER () AS first_step
  FROM pipedrive_analytics.dim_funnel_steps
)
SELECT
  report.month::DATE AS month,
  report.kpi_name::TEXT AS kpi_name,
  report.funnel_step::DECIMAL(4, 1) AS funnel_step,
  report.deals_count::BIGINT AS deals_count,
  first_steps.deals_count::BIGINT AS first_step_deals_count,
  @share(report.deals_count, first_steps.deals_count)::DECIMAL(12, 4) AS share_of_first_step,
  steps.previous_stage_step::DECIMAL(4, 1) AS previous_stage_step,
  previous_steps.deals_count::BIGINT AS previous_stage_step_deals_count,
  @change(report.deals_count, previous_steps.deals_count)::DECIMAL(12, 4) AS change_from_previous_stage_step
FROM pipedrive_analytics.rep_sales_funnel_monthly AS report
JOIN steps
  ON report.funnel_step = steps.funnel_step
LEFT JOIN pipedrive_analytics.rep_sales_funnel_monthly AS first_steps
  ON report.month = first_steps.month AND steps.first_step = first_steps.funnel_step
LEFT JOIN pipedrive_analytics.rep_sales_funnel_monthly AS previous_steps
  ON report.month = previous_steps.month
  AND steps.previous_stage_step = previous_steps.funnel_step;

@postgres_analyze()
