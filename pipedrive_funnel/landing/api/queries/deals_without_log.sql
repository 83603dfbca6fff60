/* The listed deals whose change log was never read */
SELECT
  deals.id AS deal_id
FROM pipedrive_api.deals AS deals
LEFT JOIN pipedrive_api.logs AS logs
  ON logs.deal_id = deals.id AND logs.read_at IS NOT NULL
WHERE
  logs.deal_id IS NULL
