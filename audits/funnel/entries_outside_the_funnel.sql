AUDIT (
  name entries_outside_the_funnel,
  blocking FALSE
);

/* A returned row is a first entry into a stage that no funnel step names. Kept, but not in the report. */
SELECT
  deal_id,
  stage_id
FROM @this_model
WHERE
  funnel_step IS NULL
