AUDIT (
  name log_is_not_halved
);

/* A returned row is a log in seeds/ with less than half of the rows that prod has from there: the file was probably cut off. If it is meant, set the variable allow_halved_log for one plan. */
SELECT
  COUNT(*) AS rows_here,
  @rows_in_prod(pipedrive_seed.deal_changes) AS rows_in_prod
FROM @this_model
HAVING
  NOT @allow_halved_log::BOOLEAN
  AND COUNT(*) * 2 < COALESCE(@rows_in_prod(pipedrive_seed.deal_changes), 0)
