AUDIT (
  name totals_conserved,
  defaults (condition = TRUE, source_condition = TRUE)
);

/* A returned row is a key whose total here is not the total in the source. Arguments: key and total are expressions over this model, source is the model it is made from, or a query, source_key and source_total are expressions over that; condition and source_condition restrict the rows. */
SELECT
  COALESCE(here.total_key, made_from.total_key) AS total_key,
  here.total AS total_here,
  made_from.total AS total_in_source
FROM (
  SELECT
    @key AS total_key,
    @total AS total
  FROM @this_model
  WHERE
    @condition
  GROUP BY
    @key
) AS here
FULL JOIN (
  SELECT
    @source_key AS total_key,
    @source_total AS total
  FROM @source AS origin
  WHERE
    @source_condition
  GROUP BY
    @source_key
) AS made_from
  ON here.total_key = made_from.total_key
WHERE
  COALESCE(here.total, 0) <> COALESCE(made_from.total, 0)
