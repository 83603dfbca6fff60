AUDIT (
  name repeated_creations,
  blocking FALSE
);

/* A returned row is a deal with several creations in the log. The earliest counts; a join with all of them would double its rows. */
SELECT
  deal_id
FROM @this_model
WHERE
  field_key = 'add_time'
GROUP BY
  deal_id
HAVING
  COUNT(*) > 1
