AUDIT (
  name changes_before_creation,
  blocking FALSE
);

/* A returned row is a deal that changed before its creation. Days from its creation to that are left out. */
SELECT
  deal_id
FROM @this_model
GROUP BY
  deal_id
HAVING
  MIN(change_timestamp) < MIN(CASE WHEN field_key = 'add_time' THEN change_timestamp END)
