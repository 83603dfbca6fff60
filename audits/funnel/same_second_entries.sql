AUDIT (
  name same_second_entries,
  blocking FALSE
);

/* A returned row is a deal and second in which it entered several stages. They are taken in the order of their ids. */
SELECT
  deal_id,
  stage_entry_timestamp
FROM @this_model
GROUP BY
  deal_id,
  stage_entry_timestamp
HAVING
  COUNT(*) > 1
