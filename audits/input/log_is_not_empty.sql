AUDIT (
  name log_is_not_empty
);

/* A returned row is a report that counts calls, but no entry of a deal into any stage: the log of changes was probably emptied. */
SELECT
  COUNT(*) AS counted
FROM @this_model
WHERE
  NOT EXISTS(
    SELECT
      1 AS is_there
    FROM pipedrive_analytics.fct_deal_stage_history
  )
  AND EXISTS(
    SELECT
      1 AS is_there
    FROM pipedrive_analytics.dim_funnel_steps
    WHERE
      source = 'stage'
  )
HAVING
  COUNT(*) > 0
