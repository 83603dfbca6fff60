/* The deals as they are listed now. Those whose log was never read have no history yet, and wait. */
SELECT
  id AS deal_id,
  title,
  pipeline_id,
  stage_id,
  CASE WHEN status IN ('open', 'won', 'lost') THEN status END AS status,
  value,
  currency,
  probability,
  expected_close_date,
  won_time,
  lost_time,
  close_time,
  org_id,
  COALESCE(is_deleted, FALSE) OR COALESCE(status, '') = 'deleted' AS is_deleted,
  COALESCE(is_archived, FALSE) AS is_archived,
  custom_fields
FROM pipedrive_api.deals AS deals
WHERE
  {is_deal_chosen}
  AND EXISTS(SELECT 1 FROM ({deals_with_whole_log}) AS those WHERE those.deal_id = deals.id)
