/* Activities of a deal whose log is not read yet wait for it. Those of a deal that no list has are
   landed: the check unknown_deals tells of them. */
SELECT
  id AS activity_id,
  type,
  owner_id AS assigned_to_user,
  deal_id,
  done,
  due_to
FROM pipedrive_api.activities AS activities
WHERE
  deal_id IS NOT NULL
  AND NOT COALESCE(is_deleted, FALSE)
  AND {is_chosen}
  AND NOT EXISTS(SELECT 1 FROM ({deals_without_log}) AS those WHERE those.deal_id = activities.deal_id)
