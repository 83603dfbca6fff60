AUDIT (
  name late_first_stages,
  blocking FALSE
);

/* A returned row is a deal that entered its first stage a day or more after its creation: the month of creation and the month of its first step can differ. */
SELECT
  deal_id,
  days_to_first_stage
FROM @this_model
WHERE
  days_to_first_stage >= 1
