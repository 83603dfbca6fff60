AUDIT (
  name deals_count_non_negative
);

/* A returned row is a month and step with a negative number of deals. */
SELECT
  *
FROM @this_model
WHERE
  deals_count < 0
