MODEL (
  name pipedrive_analytics.fct_deal_activities,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(
      columns := (activity_id, deal_id, is_completed),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (activity_id, deal_id), condition := @was_touched(deal_id))
  ),
  description 'One row per activity and deal, of every type, done or planned. fct_activities has the done sales calls only, which are what the funnel counts. Join dim_users on user_id and fct_deals on deal_id. Answers who does and plans how much of what.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the activity belongs to; may be unknown to the log',
    activity_type_key = 'Key of the activity type',
    activity_type_name = 'Label of the activity type; NULL when the type is unknown',
    user_id = 'User who owns the activity',
    is_completed = 'TRUE when the activity is done, FALSE when it is planned',
    due_timestamp = 'When the activity is or was due, UTC'
  )
);

@forget_touched_deals();

SELECT
  activities.activity_id::BIGINT AS activity_id,
  activities.deal_id::BIGINT AS deal_id,
  activities.activity_type_key::TEXT AS activity_type_key,
  activities.activity_type_name::TEXT AS activity_type_name,
  activities.user_id::BIGINT AS user_id,
  activities.is_completed::BOOLEAN AS is_completed,
  activities.due_timestamp::TIMESTAMP AS due_timestamp
FROM pipedrive_intermediate.int_activities AS activities
WHERE
  @was_touched(activities.deal_id);

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
