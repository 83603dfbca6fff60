MODEL (
  name pipedrive_analytics.rep_sales_funnel_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, funnel_step),
  audits (
    not_null(columns := month),
    not_null(columns := kpi_name),
    not_null(columns := funnel_step),
    not_null(columns := deals_count),
    accepted_values(
      column := funnel_step,
      is_in := (
        SELECT
          funnel_step
        FROM pipedrive_analytics.dim_funnel_steps
      )
    ),
    deals_count_non_negative,
    monthly_grain_unique,
    kpi_names_valid,
    totals_conserved(
      key := month::TEXT || ' ' || funnel_step::TEXT,
      total := SUM(deals_count),
      source := (
        SELECT
          DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE AS month,
          funnel_step,
          COUNT(*) AS deals_count
        FROM pipedrive_analytics.fct_deal_stage_history
        WHERE
          NOT funnel_step IS NULL
        GROUP BY
          DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE,
          funnel_step
        UNION ALL
        SELECT
          DATE_TRUNC('MONTH', due_timestamp)::DATE AS month,
          funnel_step,
          COUNT(DISTINCT deal_id) AS deals_count
        FROM pipedrive_analytics.fct_activities
        WHERE
          NOT due_timestamp IS NULL
        GROUP BY
          DATE_TRUNC('MONTH', due_timestamp)::DATE,
          funnel_step
      ),
      source_key := month::TEXT || ' ' || funnel_step::TEXT,
      source_total := SUM(deals_count)
    ),
    log_is_not_empty
  ),
  description 'One row per month and funnel step with at least one deal: the monthly sales funnel. Join dim_funnel_steps on funnel_step. Answers how many deals reached each step in a month. A deal counts once a step, in the month of its first entry; a sales call counts once a deal and month, in the month it was due. A month without deals in a step has no row.',
  column_descriptions (
    month = 'First day of the month, UTC',
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    deals_count = 'Number of distinct deals that reached the step in the month'
  )
);

WITH monthly_calls AS (
  /* Of several calls of a deal in a month one counts; COUNT(DISTINCT) would sort them all */
  SELECT DISTINCT
    DATE_TRUNC('MONTH', due_timestamp)::DATE AS month,
    funnel_step,
    deal_id
  FROM pipedrive_analytics.fct_activities
  WHERE
    NOT due_timestamp IS NULL
), counts AS (
  SELECT
    DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE AS month,
    funnel_step,
    COUNT(*) AS deals_count
  FROM pipedrive_analytics.fct_deal_stage_history
  WHERE
    NOT funnel_step IS NULL
  GROUP BY
    DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE,
    funnel_step
  UNION ALL
  SELECT
    month,
    funnel_step,
    COUNT(*) AS deals_count
  FROM monthly_calls
  GROUP BY
    month,
    funnel_step
)
SELECT
  counts.month::DATE AS month,
  steps.kpi_name::TEXT AS kpi_name,
  counts.funnel_step::DECIMAL(4, 1) AS funnel_step,
  counts.deals_count::BIGINT AS deals_count
FROM counts
JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON counts.funnel_step = steps.funnel_step;

@postgres_analyze()
