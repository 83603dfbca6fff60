AUDIT (
  name ownership_covers_life
);

/* A returned row is a period of ownership that does not begin where the one before it ends, or the deal's life: a gap or an overlap. */
SELECT
  periods.deal_id,
  periods.valid_from
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
) AS periods
LEFT JOIN (
  SELECT
    deal_id,
    MIN(change_timestamp) AS first_changed_at
  FROM pipedrive_staging.stg_deal_changes
  GROUP BY
    deal_id
) AS lives
  ON periods.deal_id = lives.deal_id
WHERE
  CASE
    WHEN periods.position = 1
    THEN COALESCE(periods.valid_from > lives.first_changed_at, TRUE)
    ELSE COALESCE(periods.valid_from <> periods.previous_valid_to, TRUE)
  END
  OR periods.is_current <> (
    periods.position = periods.periods
  )
  OR (
    periods.valid_to IS NULL
  ) <> periods.is_current
  OR periods.valid_to <= periods.valid_from
