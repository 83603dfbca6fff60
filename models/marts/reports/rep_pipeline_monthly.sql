MODEL (
  name pipedrive_analytics.rep_pipeline_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, pipeline_id, stage_id, currency),
  audits (
    not_null(
      columns := (month, taken_at, pipeline_id, stage_id, currency, deals_count, is_month_over)
    ),
    unique_combination_of_columns(columns := (month, pipeline_id, stage_id, currency)),
    non_negative(columns := median_age_days),
    totals_conserved(
      key := month,
      total := SUM(deals_count),
      source := (
        SELECT
          months.month,
          history.deal_id
        FROM (
          SELECT DISTINCT
            month,
            taken_at
          FROM pipedrive_analytics.rep_pipeline_monthly
        ) AS months
        JOIN pipedrive_analytics.fct_deal_status_history AS history
          ON history.status = 'open'
          AND history.valid_from < months.taken_at
          AND COALESCE(history.valid_to, '9999-12-31'::TIMESTAMP) >= months.taken_at
      ),
      source_key := month,
      source_total := COUNT(*)
    )
  ),
  description 'One row per month, stage and currency: the deals that were open at the end of the month, in the stage that they were in then. The month of the execution date is taken at the beginning of that day. Join dim_stages on stage_id and dim_pipelines on pipeline_id. Answers what stood in the pipeline, and how old it was. Values and probabilities are those of today. Without status in the source it has no rows.',
  column_descriptions (
    month = 'First day of the month, UTC',
    taken_at = 'The moment that the row is of, UTC: the end of the month, or the beginning of the execution date',
    is_month_over = 'FALSE in the month of the execution date',
    pipeline_id = 'Pipeline of the stage, or else of the deals; -1 when unknown',
    pipeline_name = 'Label of the pipeline; NULL when unknown',
    stage_id = 'Stage the deals were in; -1 when they had entered none',
    stage_name = 'Label of the stage; NULL when unknown',
    currency = 'Code of the currency of all values of the row; unknown when the deals have none',
    deals_count = 'Number of open deals',
    value = 'Sum of their values, in the currency; NULL when none has a value',
    value_in_reporting_currency = 'The same sum in the reporting currency of dim_exchange_rates, by the last rate: it may be added up over currencies. NULL without a rate',
    weighted_value = 'Sum of value x probability, in the currency: the probability of the deal, or else of the stage, or else 100 %',
    median_age_days = 'Median of days from the creation of the deals to that moment'
  )
);

WITH bounds AS (
  SELECT
    DATE_TRUNC('MONTH', MIN(valid_from))::TIMESTAMP AS first_month
  FROM pipedrive_analytics.fct_deal_status_history
), months AS MATERIALIZED (
  /* Or PostgreSQL works out taken_at again for each pair of a month and a deal */
  SELECT
    series.month::DATE AS month,
    LEAST(series.month + INTERVAL '1 MONTH', @execution_ds::TIMESTAMP)::TIMESTAMP AS taken_at
  FROM bounds
  CROSS JOIN LATERAL GENERATE_SERIES(
    bounds.first_month,
    DATE_TRUNC('MONTH', @execution_ds::DATE)::TIMESTAMP,
    INTERVAL '1 MONTH'
  ) AS series(month)
), open_deals AS (
  SELECT
    months.month,
    months.taken_at,
    history.deal_id,
    entries.stage_id,
    entries.stage_name
  FROM months
  JOIN pipedrive_analytics.fct_deal_status_history AS history
    ON history.valid_from < months.taken_at
    AND COALESCE(history.valid_to, '9999-12-31'::TIMESTAMP) >= months.taken_at
  LEFT JOIN pipedrive_analytics.fct_stage_entries AS entries
    ON history.deal_id = entries.deal_id
    AND entries.stage_entry_timestamp < months.taken_at
    AND COALESCE(entries.stage_exit_timestamp, '9999-12-31'::TIMESTAMP) >= months.taken_at
  WHERE
    history.status = 'open'
), stages_of_deals AS (
  SELECT
    open_deals.month,
    open_deals.taken_at,
    COALESCE(pipeline_stages.pipeline_id, deals.pipeline_id, -1) AS pipeline_id,
    COALESCE(open_deals.stage_id, -1) AS stage_id,
    open_deals.stage_name,
    COALESCE(deals.currency, 'unknown') AS currency,
    deals.value,
    COALESCE(deals.probability, pipeline_stages.deal_probability, 100) AS probability,
    GREATEST(@seconds_between(deals.created_at, open_deals.taken_at), 0) AS age_seconds
  FROM open_deals
  JOIN pipedrive_analytics.fct_deals AS deals
    ON open_deals.deal_id = deals.deal_id
  LEFT JOIN pipedrive_analytics.dim_pipeline_stages AS pipeline_stages
    ON open_deals.stage_id = pipeline_stages.stage_id
), sums AS (
  SELECT
    month,
    taken_at,
    pipeline_id,
    stage_id,
    currency,
    MAX(stage_name) AS stage_name,
    COUNT(*) AS deals_count,
    SUM(value) AS value,
    SUM(value * probability) AS percent_value,
    @percentile(0.5, age_seconds) AS median_age_seconds
  FROM stages_of_deals
  GROUP BY
    month,
    taken_at,
    pipeline_id,
    stage_id,
    currency
)
SELECT
  sums.month::DATE AS month,
  sums.taken_at::TIMESTAMP AS taken_at,
  (
    sums.taken_at = sums.month::TIMESTAMP + INTERVAL '1 MONTH'
  )::BOOLEAN AS is_month_over,
  sums.pipeline_id::BIGINT AS pipeline_id,
  pipelines.pipeline_name::TEXT AS pipeline_name,
  sums.stage_id::BIGINT AS stage_id,
  sums.stage_name::TEXT AS stage_name,
  sums.currency::TEXT AS currency,
  sums.deals_count::BIGINT AS deals_count,
  sums.value::DECIMAL(18, 3) AS value,
  (
    sums.value * rates.rate
  )::DECIMAL(18, 2) AS value_in_reporting_currency,
  @amount(sums.percent_value, 100)::DECIMAL(18, 2) AS weighted_value,
  @days(sums.median_age_seconds)::DECIMAL(12, 2) AS median_age_days
FROM sums
LEFT JOIN pipedrive_analytics.dim_exchange_rates AS rates
  ON sums.currency = rates.currency AND rates.valid_to IS NULL
LEFT JOIN pipedrive_analytics.dim_pipelines AS pipelines
  ON sums.pipeline_id = pipelines.pipeline_id;

@postgres_analyze()
