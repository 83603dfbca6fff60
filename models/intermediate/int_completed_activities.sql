MODEL (
  name pipedrive_intermediate.int_completed_activities,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    intermediate
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(columns := (activity_id, deal_id), condition := @was_touched(deal_id)),
    unique_combination_of_columns(columns := (activity_id, deal_id), condition := @was_touched(deal_id)),
    totals_conserved(
      key := COALESCE(activity_type_key, ''),
      total := COUNT(*),
      source := pipedrive_intermediate.int_activities,
      source_key := COALESCE(activity_type_key, ''),
      source_total := COUNT(*),
      source_condition := (
        is_completed
      ) AND @was_touched(deal_id),
      condition := @was_touched(deal_id)
    )
  ),
  description 'One row per completed activity and deal, with the label of its type and the creation of its deal. Join stg_users on user_id.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the activity belongs to',
    activity_type_key = 'Key of the activity type',
    activity_type_name = 'Label of the activity type; NULL when the type is unknown',
    user_id = 'User who owns the activity',
    due_timestamp = 'When the activity was due, UTC',
    deal_created_at = 'Earliest creation of the deal in the log, UTC; NULL when the log has none'
  )
);

@forget_touched_deals();

SELECT
  activities.activity_id::BIGINT AS activity_id,
  activities.deal_id::BIGINT AS deal_id,
  activities.activity_type_key::TEXT AS activity_type_key,
  activities.activity_type_name::TEXT AS activity_type_name,
  activities.user_id::BIGINT AS user_id,
  activities.due_timestamp::TIMESTAMP AS due_timestamp,
  deals.creation_logged_at::TIMESTAMP AS deal_created_at
FROM pipedrive_intermediate.int_activities AS activities
LEFT JOIN pipedrive_intermediate.int_deals AS deals
  ON activities.deal_id = deals.deal_id
WHERE
  @was_touched(activities.deal_id) AND activities.is_completed;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
