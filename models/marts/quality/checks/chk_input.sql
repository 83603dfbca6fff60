MODEL (
  name pipedrive_quality.chk_input,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what is missing in the input, or cannot be counted. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
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
), activities_without_status AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_staging.stg_activity
  WHERE
    is_completed IS NULL
), calls_without_due_time AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_analytics.fct_activities
  WHERE
    due_timestamp IS NULL
), activities_without_due_time AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_intermediate.int_activities
  WHERE
    due_timestamp IS NULL
), implausible_due_times AS (
  SELECT
    activity_id,
    deal_id,
    due_timestamp
  FROM pipedrive_staging.stg_activity
  WHERE
    NOT due_timestamp IS NULL AND @plausible_time(due_timestamp) IS NULL
), deals_without_creation AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deals
  WHERE
    creation_logged_at IS NULL
), repeated_creations AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deal_changes
  WHERE
    field_key = 'add_time'
  GROUP BY
    deal_id
  HAVING
    COUNT(*) > 1
), changes_before_creation AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deals
  WHERE
    first_changed_at < creation_logged_at
), deals_without_stage AS (
  SELECT
    deal_id
  FROM pipedrive_analytics.fct_deals
  WHERE
    stage_entries_count = 0
), deals_without_owner AS (
  SELECT
    deal_id
  FROM pipedrive_analytics.fct_deals
  WHERE
    owner_user_id IS NULL
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
  'activities_without_status'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM activities_without_status
UNION ALL
SELECT
  'calls_without_due_time'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM calls_without_due_time
UNION ALL
SELECT
  'activities_without_due_time'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM activities_without_due_time
UNION ALL
SELECT
  'implausible_due_times'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id, due_timestamp)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM implausible_due_times
UNION ALL
SELECT
  'deals_without_creation'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deals_without_creation
UNION ALL
SELECT
  'repeated_creations'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM repeated_creations
UNION ALL
SELECT
  'changes_before_creation'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM changes_before_creation
UNION ALL
SELECT
  'deals_without_stage'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deals_without_stage
UNION ALL
SELECT
  'deals_without_owner'::TEXT AS check_name,
  @row_as_text(deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM deals_without_owner
UNION ALL
SELECT
  'options_are_lists'::TEXT AS check_name,
  @row_as_text(field_key, field_value_options)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM options_are_lists
