AUDIT (
  name skipped_stages,
  blocking FALSE
);

/* A returned row is a move of a deal to a later stage of the funnel that jumped over some. */
SELECT
  deal_id,
  previous_stage_id,
  stage_id,
  stage_entry_num
FROM @this_model
WHERE
  move = 'skipped'
