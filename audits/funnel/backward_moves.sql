AUDIT (
  name backward_moves,
  blocking FALSE
);

/* A returned row is a move of a deal back to an earlier stage of the funnel. */
SELECT
  deal_id,
  previous_stage_id,
  stage_id,
  stage_entry_num
FROM @this_model
WHERE
  move = 'backward'
