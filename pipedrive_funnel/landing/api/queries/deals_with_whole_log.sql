/* The deals whose whole change log is in the mirror. Every log that was read, even an empty one, has
   a row without a field. A log older than the deal's row is not whole: Pipedrive refused a newer
   one. */
SELECT
  logs.deal_id
FROM pipedrive_api.changelogs AS logs
JOIN pipedrive_api.deals AS listed
  ON listed.id = logs.deal_id
WHERE
  logs.field_key IS NULL
  AND (logs.update_time IS NULL OR logs.update_time = listed.update_time)
