AUDIT (
  name lost_reasons_conserved
);

/* The returned row has the numbers of deals with a lost reason here and in fct_deals, when they differ. */
SELECT
  here.total AS deals_here,
  deals.total AS deals_with_reason
FROM (
  SELECT
    COALESCE(SUM(deals_count), 0) AS total
  FROM @this_model
) AS here
CROSS JOIN (
  SELECT
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_deals
  WHERE
    NOT lost_reason IS NULL
) AS deals
WHERE
  here.total <> deals.total
