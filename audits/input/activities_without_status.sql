AUDIT (
  name activities_without_status,
  blocking FALSE
);

/* A returned row is an activity of which it is not said whether it is done. Kept, as planned. */
SELECT
  activity_id,
  deal_id
FROM @this_model
WHERE
  is_completed IS NULL
