AUDIT (
  name unknown_users,
  blocking FALSE
);

/* A returned row is the owner of an activity or a deal whom stg_users does not know. Kept, without a name. */
SELECT
  owners.user_id,
  owners.owns
FROM (
  SELECT
    user_id,
    'activity ' || activity_id::TEXT AS owns
  FROM pipedrive_staging.stg_activity
  WHERE
    NOT user_id IS NULL
  UNION ALL
  SELECT
    new_value::BIGINT AS user_id,
    'deal ' || deal_id::TEXT AS owns
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    field_key = 'user_id'
) AS owners
WHERE
  NOT EXISTS(
    SELECT
      1
    FROM @this_model AS users
    WHERE
      users.user_id = owners.user_id
  )
