MODEL (
  name pipedrive_analytics.dim_users,
  kind FULL,
  tags (
    marts
  ),
  grain user_id,
  audits (not_null(columns := (user_id, is_active)), unique_values(columns := user_id)),
  description 'One row per user of the CRM. Join the facts on user_id. Answers who works with deals. Holds no addresses: readers of the marts need none, and they are in stg_users.',
  column_descriptions (
    user_id = 'Identifier of the user',
    user_name = 'Name of the user; not unique',
    is_active = 'TRUE when the user owns, or owned, a deal or an activity; Pipedrive exports no account status'
  )
);

WITH working_users AS (
  SELECT
    user_id
  FROM pipedrive_intermediate.int_activities
  UNION
  SELECT
    new_value::BIGINT AS user_id
  FROM pipedrive_intermediate.int_deal_changes
  WHERE
    field_key = 'user_id'
)
SELECT
  users.user_id::BIGINT AS user_id,
  users.user_name::TEXT AS user_name,
  (
    NOT working_users.user_id IS NULL
  )::BOOLEAN AS is_active
FROM pipedrive_staging.stg_users AS users
LEFT JOIN working_users
  ON users.user_id = working_users.user_id;

@postgres_analyze()
