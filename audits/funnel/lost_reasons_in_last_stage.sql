AUDIT (
  name lost_reasons_in_last_stage,
  blocking FALSE
);

/* A returned row is a deal with a lost reason that has reached the last stage of the funnel: a lost reason does not say that a deal is lost. */
SELECT
  deal_id,
  lost_reason
FROM @this_model
WHERE
  NOT lost_reason IS NULL
  AND furthest_funnel_step = (
    SELECT
      MAX(funnel_step)
    FROM pipedrive_analytics.dim_funnel_steps
    WHERE
      source = 'stage'
  )
