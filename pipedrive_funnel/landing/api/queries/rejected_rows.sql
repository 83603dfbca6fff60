/* Rows of lists and logs that do not fit, and the logs of single deals that Pipedrive refuses */
SELECT
  table_name,
  file_name,
  CAST(NULL AS BIGINT) AS line,
  column_name,
  reason,
  raw_text
FROM pipedrive_api.rejects
UNION ALL
SELECT
  'deal_changes' AS table_name,
  'v1/deals/' || CAST(deal_id AS TEXT) || '/changelog' AS file_name,
  CAST(NULL AS BIGINT) AS line,
  CAST(NULL AS TEXT) AS column_name,
  'Pipedrive refuses the change log of this deal (' || CAST(refusal AS TEXT)
  || '). See whether the user of PIPEDRIVE_API_TOKEN may open the deal.' AS reason,
  'deal ' || CAST(deal_id AS TEXT) AS raw_text
FROM pipedrive_api.logs
WHERE
  refusal <> {gone}
