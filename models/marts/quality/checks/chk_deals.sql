MODEL (
  name pipedrive_quality.chk_deals,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what deals and activities lack, or refer to in vain. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them, by deal: a run looks at the deals that were touched.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH activities_without_status AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_staging.stg_activity
  WHERE
    @was_touched(deal_id) AND is_completed IS NULL
), calls_without_due_time AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_analytics.fct_activities
  WHERE
    @was_touched(deal_id) AND due_timestamp IS NULL
), activities_without_due_time AS (
  SELECT
    activity_id,
    deal_id
  FROM pipedrive_intermediate.int_activities
  WHERE
    @was_touched(deal_id) AND due_timestamp IS NULL
), implausible_due_times AS (
  SELECT
    activity_id,
    deal_id,
    due_timestamp
  FROM pipedrive_staging.stg_activity
  WHERE
    @was_touched(deal_id)
    AND NOT due_timestamp IS NULL
    AND @plausible_time(due_timestamp) IS NULL
), deals_without_creation AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND creation_logged_at IS NULL
), repeated_creations AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deal_changes
  WHERE
    @was_touched(deal_id) AND field_key = 'add_time'
  GROUP BY
    deal_id
  HAVING
    COUNT(*) > 1
), changes_before_creation AS (
  SELECT
    deal_id
  FROM pipedrive_intermediate.int_deals
  WHERE
    @was_touched(deal_id) AND first_changed_at < creation_logged_at
), deals_without_stage AS (
  SELECT
    deal_id
  FROM pipedrive_analytics.fct_deals
  WHERE
    @was_touched(deal_id) AND stage_entries_count = 0
), deals_without_owner AS (
  SELECT
    deal_id
  FROM pipedrive_analytics.fct_deals
  WHERE
    @was_touched(deal_id) AND owner_user_id IS NULL
), unknown_deals AS (
  SELECT
    activities.activity_id,
    activities.deal_id
  FROM pipedrive_intermediate.int_activities AS activities
  WHERE
    @was_touched(activities.deal_id)
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_intermediate.int_deals AS deals
      WHERE
        deals.deal_id = activities.deal_id
    )
), unknown_activity_types AS (
  SELECT
    activities.activity_id,
    activities.deal_id,
    activities.activity_type_key
  FROM pipedrive_intermediate.int_activities AS activities
  WHERE
    @was_touched(activities.deal_id)
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_staging.stg_activity_types AS types
      WHERE
        types.activity_type_key = activities.activity_type_key
    )
), unknown_stages AS (
  SELECT
    entries.deal_id,
    entries.stage_id,
    entries.stage_entry_num
  FROM pipedrive_analytics.fct_stage_entries AS entries
  WHERE
    @was_touched(entries.deal_id)
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_stages AS stages
      WHERE
        stages.stage_id = entries.stage_id
    )
), unknown_lost_reasons AS (
  SELECT
    deals.deal_id,
    deals.lost_reason
  FROM pipedrive_analytics.fct_deals AS deals
  WHERE
    @was_touched(deals.deal_id)
    AND NOT deals.lost_reason IS NULL
    AND NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_lost_reasons AS reasons
      WHERE
        reasons.lost_reason = deals.lost_reason
    )
)
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
  'unknown_deals'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_deals
UNION ALL
SELECT
  'unknown_activity_types'::TEXT AS check_name,
  @row_as_text(activity_id, deal_id, activity_type_key)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_activity_types
UNION ALL
SELECT
  'unknown_stages'::TEXT AS check_name,
  @row_as_text(deal_id, stage_id, stage_entry_num)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_stages
UNION ALL
SELECT
  'unknown_lost_reasons'::TEXT AS check_name,
  @row_as_text(deal_id, lost_reason)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_lost_reasons
