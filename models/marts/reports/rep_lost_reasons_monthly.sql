MODEL (
  name pipedrive_analytics.rep_lost_reasons_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, lost_reason, furthest_funnel_step),
  audits (
    not_null(columns := (month, lost_reason, furthest_funnel_step, deals_count)),
    unique_combination_of_columns(columns := (month, lost_reason, furthest_funnel_step)),
    totals_conserved(
      key := month,
      total := SUM(deals_count),
      source := pipedrive_analytics.fct_deals,
      source_key := DATE_TRUNC('MONTH', lost_reason_set_at)::DATE,
      source_total := COUNT(*),
      source_condition := NOT lost_reason IS NULL
    )
  ),
  description 'One row per month, lost reason and furthest step: deals whose lost reason was set in the month and still stands. Join dim_funnel_steps on furthest_funnel_step. Answers which reasons are set, and how far the deals had come. A lost reason is set for deals in the last stage too: it is a remark, and these deals need not be lost.',
  column_descriptions (
    month = 'First day of the month in which the reason was set, UTC',
    lost_reason = 'Label of the reason, or its text when it is no option',
    furthest_funnel_step = 'Highest step among the stages the deals ever entered; 0 when they entered none of the funnel',
    deals_count = 'Number of deals'
  )
);

SELECT
  DATE_TRUNC('MONTH', lost_reason_set_at)::DATE AS month,
  lost_reason::TEXT AS lost_reason,
  COALESCE(furthest_funnel_step, 0)::DECIMAL(4, 1) AS furthest_funnel_step,
  COUNT(*)::BIGINT AS deals_count
FROM pipedrive_analytics.fct_deals
WHERE
  NOT lost_reason IS NULL
GROUP BY
  DATE_TRUNC('MONTH', lost_reason_set_at)::DATE,
  lost_reason,
  COALESCE(furthest_funnel_step, 0);

@postgres_analyze()
