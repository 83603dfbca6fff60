AUDIT (
  name one_creation_per_deal
);

/* A returned row is a deal whose entries disagree on when the deal was created. */
SELECT
  deal_id
FROM @this_model
WHERE
  @was_touched(deal_id)
GROUP BY
  deal_id
HAVING
  COUNT(DISTINCT deal_created_at) > 1
