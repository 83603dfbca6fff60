AUDIT (
  name ownership_covers_life
);

/* A returned row is a period of ownership that does not begin where the one before it ends, a gap or an overlap, or that is current and not the last. */
SELECT
  deal_id,
  valid_from
FROM (
  SELECT
    deal_id,
    valid_from,
    valid_to,
    is_current,
    LAG(valid_to) OVER (PARTITION BY deal_id ORDER BY valid_from) AS previous_valid_to,
    ROW_NUMBER() OVER (PARTITION BY deal_id ORDER BY valid_from) AS position,
    COUNT(*) OVER (PARTITION BY deal_id) AS periods
  FROM @this_model
  WHERE
    @was_touched(deal_id)
) AS numbered_periods
WHERE
  (
    position > 1 AND COALESCE(valid_from <> previous_valid_to, TRUE)
  )
  OR is_current <> (
    position = periods
  )
  OR is_current <> (
    valid_to IS NULL
  )
  OR valid_to <= valid_from
