MODEL (
  name pipedrive_quality.chk_pipeline,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what the list of deals lacks, and what stands in the pipeline too long. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH unknown_statuses AS (
  SELECT
    COUNT(*) AS deals
  FROM pipedrive_analytics.fct_deals
  WHERE
    status IS NULL
  HAVING
    COUNT(*) > 0
), deals_without_log AS (
  SELECT
    listed.deal_id
  FROM pipedrive_staging.stg_deals AS listed
  WHERE
    NOT listed.is_deleted
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_intermediate.int_deals AS deals
      WHERE
        deals.deal_id = listed.deal_id
    )
), deleted_deals AS (
  SELECT
    deal_id
  FROM pipedrive_staging.stg_deals
  WHERE
    is_deleted
), unknown_pipelines AS (
  SELECT
    deals.deal_id,
    deals.pipeline_id
  FROM pipedrive_analytics.fct_deals AS deals
  WHERE
    NOT deals.status IS NULL
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_pipelines AS pipelines
      WHERE
        pipelines.pipeline_id = deals.pipeline_id
    )
), unknown_currencies AS (
  SELECT
    deals.deal_id,
    deals.currency
  FROM pipedrive_analytics.fct_deals AS deals
  WHERE
    NOT deals.currency IS NULL
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_currencies AS currencies
      WHERE
        currencies.currency = deals.currency
    )
), values_without_rate AS (
  SELECT
    deals.deal_id,
    deals.currency,
    deals.won_at
  FROM pipedrive_analytics.fct_deals AS deals
  WHERE
    deals.status IN ('open', 'won')
    AND NOT deals.value IS NULL
    AND EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_exchange_rates
    )
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_exchange_rates AS rates
      WHERE
        rates.currency = deals.currency AND @rate_holds(deals.won_at, rates)
    )
), overdue_closings AS (
  SELECT
    deal_id,
    expected_close_date
  FROM pipedrive_analytics.fct_deals
  WHERE
    status = 'open' AND expected_close_date < @execution_ds::DATE
)
SELECT
  'unknown_statuses'::TEXT AS check_name,
  @row_as_text(deals)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM unknown_statuses
UNION ALL
SELECT
  'deals_without_log'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deals_without_log
UNION ALL
SELECT
  'deleted_deals'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deleted_deals
UNION ALL
SELECT
  'unknown_pipelines'::TEXT AS check_name,
  @row_as_text(deal_id, pipeline_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_pipelines
UNION ALL
SELECT
  'unknown_currencies'::TEXT AS check_name,
  @row_as_text(deal_id, currency)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_currencies
UNION ALL
SELECT
  'values_without_rate'::TEXT AS check_name,
  @row_as_text(deal_id, currency, won_at)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM values_without_rate
UNION ALL
SELECT
  'overdue_closings'::TEXT AS check_name,
  @row_as_text(deal_id, expected_close_date)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM overdue_closings
