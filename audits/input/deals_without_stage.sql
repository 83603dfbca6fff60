AUDIT (
  name deals_without_stage,
  blocking FALSE
);

/* A returned row is a deal that entered no stage: it is in no month of the funnel. */
SELECT
  deal_id
FROM @this_model
WHERE
  stage_entries_count = 0
