AUDIT (
  name repeated_stage_entries,
  blocking FALSE
);

/* A returned row is an entry of a deal into a stage that it had entered before. Only the first counts in the funnel. */
SELECT
  deal_id,
  stage_id,
  stage_entry_num
FROM @this_model
WHERE
  stage_entry_num > 1
