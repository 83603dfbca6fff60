MODEL (
  name pipedrive_intermediate.int_activities,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    intermediate
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(
      columns := (activity_id, deal_id, is_completed),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (activity_id, deal_id), condition := @was_touched(deal_id)),
    totals_conserved(
      key := COALESCE(activity_type_key, '') || is_completed::TEXT,
      total := COUNT(*),
      source := pipedrive_staging.stg_activity,
      source_key := COALESCE(activity_type_key, '') || COALESCE(is_completed, FALSE)::TEXT,
      source_total := COUNT(*),
      source_condition := @was_touched(deal_id) AND @is_counted(deal_id),
      condition := @was_touched(deal_id)
    )
  ),
  description 'One row per activity and deal, with the label of its type and whether it is done; those of deleted deals are left out. Join stg_users on user_id.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the activity belongs to; may be unknown to the log',
    activity_type_key = 'Key of the activity type',
    activity_type_name = 'Label of the activity type; NULL when the type is unknown',
    user_id = 'User who owns the activity',
    is_completed = 'TRUE when the activity is done, FALSE when it is planned or the export does not say',
    due_timestamp = 'When the activity is or was due, UTC; NULL when it has no due time, or one outside 1970 to 2099'
  )
);

@forget_touched_deals();

SELECT
  activities.activity_id::BIGINT AS activity_id,
  activities.deal_id::BIGINT AS deal_id,
  activities.activity_type_key::TEXT AS activity_type_key,
  activity_types.activity_type_name::TEXT AS activity_type_name,
  activities.user_id::BIGINT AS user_id,
  COALESCE(activities.is_completed, FALSE)::BOOLEAN AS is_completed,
  @plausible_time(activities.due_timestamp)::TIMESTAMP AS due_timestamp
FROM pipedrive_staging.stg_activity AS activities
LEFT JOIN pipedrive_staging.stg_activity_types AS activity_types
  ON activities.activity_type_key = activity_types.activity_type_key
WHERE
  @was_touched(activities.deal_id) AND @is_counted(activities.deal_id);

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
