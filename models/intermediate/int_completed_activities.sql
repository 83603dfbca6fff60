MODEL (
  name pipedrive_intermediate.int_completed_activities,
  kind FULL,
  tags (
    intermediate
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(columns := (activity_id, deal_id)),
    unique_combination_of_columns(columns := (activity_id, deal_id)),
    unknown_deals,
    unknown_activity_types
  ),
  description 'One row per completed activity and deal, with the label of its type and the creation of its deal. FULL, because an activity flips from open to done. Join stg_users on user_id.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the activity belongs to',
    activity_type_key = 'Key of the activity type',
    activity_type_name = 'Label of the activity type; NULL when the type is unknown',
    user_id = 'User who owns the activity',
    due_timestamp = 'When the activity was due, UTC',
    deal_created_at = 'When the deal was created, UTC; NULL when the log does not know the deal'
  )
);

WITH completed_activities AS (
  SELECT
    activity_id,
    deal_id,
    activity_type_key,
    user_id,
    due_timestamp
  FROM pipedrive_staging.stg_activity
  WHERE
    is_completed
), deal_creations AS (
  /* A deal can carry several creations: one row a deal, or the join multiplies its activities */
  SELECT
    deal_id,
    MIN(change_timestamp) AS deal_created_at
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'add_time'
  GROUP BY
    deal_id
)
SELECT
  completed_activities.activity_id::BIGINT AS activity_id,
  completed_activities.deal_id::BIGINT AS deal_id,
  completed_activities.activity_type_key::TEXT AS activity_type_key,
  activity_types.activity_type_name::TEXT AS activity_type_name,
  completed_activities.user_id::BIGINT AS user_id,
  completed_activities.due_timestamp::TIMESTAMP AS due_timestamp,
  deal_creations.deal_created_at::TIMESTAMP AS deal_created_at
FROM completed_activities
LEFT JOIN pipedrive_staging.stg_activity_types AS activity_types
  ON completed_activities.activity_type_key = activity_types.activity_type_key
LEFT JOIN deal_creations
  ON completed_activities.deal_id = deal_creations.deal_id;

@postgres_analyze()
