MODEL (
  name pipedrive_quality.chk_outcomes,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what a single deal''s status, value and times of closing lack. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them by deal: a rule here may read only what touches the deal.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH closed_without_time AS (
  SELECT
    deal_id,
    status
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND status IN ('won', 'lost') AND closed_at IS NULL
), open_with_closing_time AS (
  SELECT
    deal_id,
    closed_timestamp
  FROM pipedrive_staging.stg_deals
  WHERE
    @was_touched(deal_id)
    AND status = 'open'
    AND NOT COALESCE(won_timestamp, lost_timestamp, closed_timestamp) IS NULL
), status_contradicts_log AS (
  SELECT
    deal_id,
    status,
    logged_status
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND status <> logged_status
), closed_before_creation AS (
  SELECT
    deal_id,
    closed_at
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND closed_at < created_at
), negative_values AS (
  SELECT
    deal_id,
    value
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND value < 0
), deals_without_value AS (
  SELECT
    deal_id,
    status
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND NOT status IS NULL AND value IS NULL
), open_without_date AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND status = 'open' AND expected_close_date IS NULL
)
SELECT
  'closed_without_time'::TEXT AS check_name,
  @row_as_text(deal_id, status)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM closed_without_time
UNION ALL
SELECT
  'open_with_closing_time'::TEXT AS check_name,
  @row_as_text(deal_id, closed_timestamp)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM open_with_closing_time
UNION ALL
SELECT
  'status_contradicts_log'::TEXT AS check_name,
  @row_as_text(deal_id, status, logged_status)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM status_contradicts_log
UNION ALL
SELECT
  'closed_before_creation'::TEXT AS check_name,
  @row_as_text(deal_id, closed_at)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM closed_before_creation
UNION ALL
SELECT
  'negative_values'::TEXT AS check_name,
  @row_as_text(deal_id, value)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM negative_values
UNION ALL
SELECT
  'deals_without_value'::TEXT AS check_name,
  @row_as_text(deal_id, status)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deals_without_value
UNION ALL
SELECT
  'open_without_date'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM open_without_date
