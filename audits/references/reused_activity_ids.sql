AUDIT (
  name reused_activity_ids,
  blocking FALSE
);

/* A returned row is an activity id that several deals use. They are different activities: the key is activity_id and deal_id. */
SELECT
  activity_id
FROM @this_model
GROUP BY
  activity_id
HAVING
  COUNT(*) > 1
