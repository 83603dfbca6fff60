AUDIT (
  name calls_without_due_time,
  blocking FALSE
);

/* A returned row is a completed sales call without a due time: no month can count it. */
SELECT
  activity_id,
  deal_id
FROM @this_model
WHERE
  due_timestamp IS NULL
