/* The deals whose change log was read, if only once. Their history is that of the last reading, and
   whole: without later changes, of which the next reading brings all. A deal whose log was never
   read is in no table. */
SELECT
  deal_id
FROM pipedrive_api.logs
WHERE
  read_at IS NOT NULL
