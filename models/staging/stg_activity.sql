MODEL (
  name pipedrive_staging.stg_activity,
  kind VIEW,
  tags (
    staging
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(columns := (activity_id, deal_id), condition := @has_arrived(loaded_at)),
    unique_combination_of_columns(
      columns := (activity_id, deal_id),
      condition := deal_id IN (
        SELECT
          arrived.deal_id
        FROM pipedrive_staging.stg_activity AS arrived
        WHERE
          @has_arrived(arrived.loaded_at)
      )
    ),
    rows_conserved(raw_table := activity)
  ),
  description 'One row per activity and deal: a call, a meeting, a follow-up, done or planned. Join stg_activity_types on activity_type_key and stg_users on user_id.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the activity belongs to; may be unknown to the log',
    activity_type_key = 'Key of the activity type',
    user_id = 'User who owns the activity',
    is_completed = 'TRUE when the activity is done; NULL, which is said, counts as not done',
    due_timestamp = 'When the activity is or was due, UTC',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose activities do not arrive'
  )
);

SELECT
  activity_id::BIGINT AS activity_id,
  deal_id::BIGINT AS deal_id,
  type::TEXT AS activity_type_key,
  assigned_to_user::BIGINT AS user_id,
  done::BOOLEAN AS is_completed,
  due_to::TIMESTAMP AS due_timestamp,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.activity;

@note_processed()
