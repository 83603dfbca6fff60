MODEL (
  name pipedrive_analytics.rep_forecast_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, is_overdue, pipeline_id, currency),
  audits (
    not_null(columns := (month, is_overdue, pipeline_id, currency, deals_count, as_of)),
    unique_combination_of_columns(columns := (month, is_overdue, pipeline_id, currency)),
    totals_conserved(
      key := currency,
      total := SUM(deals_count),
      source := pipedrive_analytics.fct_deals,
      source_key := COALESCE(currency, 'unknown'),
      source_total := COUNT(*),
      source_condition := status = 'open' AND NOT expected_close_date IS NULL
    )
  ),
  description 'One row per month, pipeline and currency: the deals that are open, by the month in which they are expected to be closed. Deals whose day has passed have rows of their own; those without a day are left out, and said by the check open_without_date. Join dim_pipelines on pipeline_id. Answers what is still to come. Without status in the source it has no rows.',
  column_descriptions (
    month = 'First day of the month of the expected closing',
    is_overdue = 'TRUE when the expected day had passed at the execution date',
    pipeline_id = 'Pipeline of the deals; -1 when unknown',
    pipeline_name = 'Label of the pipeline; NULL when unknown',
    currency = 'Code of the currency of all values of the row; unknown when the deals have none',
    deals_count = 'Number of open deals',
    value = 'Sum of their values, in the currency; NULL when none has a value',
    value_in_reporting_currency = 'The same sum in the reporting currency of dim_exchange_rates, by the last rate: it may be added up over currencies. NULL without a rate',
    weighted_value = 'Sum of value x probability, in the currency: the probability of the deal, or else of its stage, or else 100 %',
    as_of = 'Execution date, UTC'
  )
);

WITH sums AS (
  SELECT
    DATE_TRUNC('MONTH', deals.expected_close_date)::DATE AS month,
    deals.expected_close_date < @execution_ds::DATE AS is_overdue,
    COALESCE(deals.pipeline_id, -1) AS pipeline_id,
    COALESCE(deals.currency, 'unknown') AS currency,
    COUNT(*) AS deals_count,
    SUM(deals.value) AS value,
    SUM(deals.value * COALESCE(deals.probability, pipeline_stages.deal_probability, 100)) AS percent_value
  FROM pipedrive_analytics.fct_deals AS deals
  LEFT JOIN pipedrive_analytics.dim_pipeline_stages AS pipeline_stages
    ON deals.current_stage_id = pipeline_stages.stage_id
  WHERE
    deals.status = 'open' AND NOT deals.expected_close_date IS NULL
  GROUP BY
    DATE_TRUNC('MONTH', deals.expected_close_date)::DATE,
    deals.expected_close_date < @execution_ds::DATE,
    COALESCE(deals.pipeline_id, -1),
    COALESCE(deals.currency, 'unknown')
)
SELECT
  sums.month::DATE AS month,
  sums.is_overdue::BOOLEAN AS is_overdue,
  sums.pipeline_id::BIGINT AS pipeline_id,
  pipelines.pipeline_name::TEXT AS pipeline_name,
  sums.currency::TEXT AS currency,
  sums.deals_count::BIGINT AS deals_count,
  sums.value::DECIMAL(18, 3) AS value,
  (
    sums.value * rates.rate
  )::DECIMAL(18, 2) AS value_in_reporting_currency,
  @amount(sums.percent_value, 100)::DECIMAL(18, 2) AS weighted_value,
  @execution_ds::DATE AS as_of
FROM sums
LEFT JOIN pipedrive_analytics.dim_exchange_rates AS rates
  ON sums.currency = rates.currency AND rates.valid_to IS NULL
LEFT JOIN pipedrive_analytics.dim_pipelines AS pipelines
  ON sums.pipeline_id = pipelines.pipeline_id;

@postgres_analyze()
