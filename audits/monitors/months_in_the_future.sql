AUDIT (
  name months_in_the_future,
  blocking FALSE
);

/* A returned row is a month and step after the month of the execution date; `sqlmesh audit` without --execution-time stands at 1970 and is let pass. */
SELECT
  month,
  funnel_step
FROM @this_model
WHERE
  month > NULLIF(@execution_ds::DATE, '1970-01-01'::DATE)
