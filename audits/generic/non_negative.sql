AUDIT (
  name non_negative,
  defaults (
    condition = TRUE
  )
);

/* A returned row has a negative number in one of the columns. */
SELECT
  *
FROM @this_model
WHERE
  @AND(@REDUCE(@EACH(@columns, column -> column < 0), (a, b) -> a OR b), @condition)
