AUDIT (
  name deals_conserved
);

/* A returned row is a deal whose entries into stages were not all counted. A deal that has vanished from the log is not here, but in the histories. */
SELECT
  entries.deal_id
FROM (
  SELECT
    deal_id,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_stage_entries
  GROUP BY
    deal_id
) AS entries
JOIN @this_model AS deals
  ON entries.deal_id = deals.deal_id
WHERE
  entries.total <> deals.stage_entries_count
