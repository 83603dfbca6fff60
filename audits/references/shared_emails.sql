AUDIT (
  name shared_emails,
  blocking FALSE
);

/* A returned row is an address that several users have: it identifies nobody. */
SELECT
  MIN(user_id) AS first_user_id,
  COUNT(*) AS users
FROM @this_model
WHERE
  NOT user_email IS NULL
GROUP BY
  user_email
HAVING
  COUNT(*) > 1
