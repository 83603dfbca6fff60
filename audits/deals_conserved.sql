AUDIT (
  name deals_conserved
);

/* A returned row is a deal that is in the stage history or the log and not here, or whose entries into stages were not all counted. */
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
LEFT JOIN @this_model AS deals
  ON entries.deal_id = deals.deal_id
WHERE
  entries.total <> COALESCE(deals.stage_entries_count, 0)
