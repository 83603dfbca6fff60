AUDIT (
  name unknown_lost_reasons,
  blocking FALSE
);

/* A returned row is a deal whose lost reason is none of the options. Kept, as the text that the log holds. */
SELECT
  deals.deal_id,
  deals.lost_reason
FROM @this_model AS deals
WHERE
  NOT deals.lost_reason IS NULL
  AND NOT EXISTS(
    SELECT
      1
    FROM pipedrive_analytics.dim_lost_reasons AS reasons
    WHERE
      reasons.lost_reason = deals.lost_reason
  )
