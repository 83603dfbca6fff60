AUDIT (
  name funnel_progression_logic,
  blocking FALSE,
  defaults (
    last_step = 6
  )
);

/* A returned row is a month in which a step has more deals than the whole step before it. */
SELECT DISTINCT
  later.month
FROM @this_model AS later
JOIN @this_model AS earlier
  ON later.month = earlier.month AND later.funnel_step = earlier.funnel_step + 1
WHERE
  later.funnel_step = FLOOR(later.funnel_step)
  AND later.funnel_step <= @last_step
  AND later.deals_count > earlier.deals_count
