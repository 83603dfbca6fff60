MODEL (
  name pipedrive_quality.chk_input,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what was landed, and what was not. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH rejected_rows AS (
  SELECT
    file_name,
    line,
    column_name,
    reason
  FROM pipedrive_staging.stg_rejected_rows
), vanished_stage_changes AS (
  SELECT
    changes.deal_id,
    changes.new_value AS stage_id,
    changes.change_timestamp
  FROM pipedrive_intermediate.int_deal_changes AS changes
  WHERE
    changes.field_key = 'stage_id'
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_staging.stg_deal_changes AS log
      WHERE
        log.deal_id = changes.deal_id
        AND log.field_key = changes.field_key
        AND log.new_value = changes.new_value
        AND log.change_timestamp = changes.change_timestamp
    )
), changes_not_yet_processed AS (
  SELECT
    deal_id,
    new_value AS stage_id,
    loaded_at
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'stage_id'
    AND loaded_at > (
      SELECT
        COALESCE(MAX(loaded_at), '0001-01-01'::TIMESTAMP)
      FROM pipedrive_intermediate.int_touched_deals
    )
), options_are_lists AS (
  SELECT
    field_key,
    field_value_options
  FROM pipedrive_staging.stg_fields
  WHERE
    NOT @is_json_array(field_value_options)
)
SELECT
  'rejected_rows'::TEXT AS check_name,
  @row_as_text(file_name, line, column_name, reason)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM rejected_rows
UNION ALL
SELECT
  'vanished_stage_changes'::TEXT AS check_name,
  @row_as_text(deal_id, stage_id, change_timestamp)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM vanished_stage_changes
UNION ALL
SELECT
  'changes_not_yet_processed'::TEXT AS check_name,
  @row_as_text(deal_id, stage_id, loaded_at)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM changes_not_yet_processed
UNION ALL
SELECT
  'options_are_lists'::TEXT AS check_name,
  @row_as_text(field_key, field_value_options)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM options_are_lists
