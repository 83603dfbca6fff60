SELECT
  id AS activity_id,
  type,
  owner_id AS assigned_to_user,
  deal_id,
  done,
  due_to
FROM pipedrive_api.activities
WHERE
  deal_id IS NOT NULL AND NOT COALESCE(is_deleted, FALSE) AND {is_chosen}
