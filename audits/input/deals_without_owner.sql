AUDIT (
  name deals_without_owner,
  blocking FALSE
);

/* A returned row is a deal whose owner the log does not tell. */
SELECT
  deal_id
FROM @this_model
WHERE
  owner_user_id IS NULL
