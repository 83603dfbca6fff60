AUDIT (
  name shared_names,
  blocking FALSE
);

/* A returned row is a name that several users have: it identifies nobody. */
SELECT
  MIN(user_id) AS first_user_id,
  COUNT(*) AS users
FROM @this_model
WHERE
  NOT user_name IS NULL
GROUP BY
  user_name
HAVING
  COUNT(*) > 1
