AUDIT (
  name rows_conserved
);

/* A returned row says that this model has more or fewer rows than the raw table it renames. Argument: raw_table is the name of that table, without its schema. */
SELECT
  here.rows_here,
  raw_table.rows_in_source
FROM (
  SELECT
    COUNT(*) AS rows_here
  FROM @this_model
  WHERE
    @IF(@raw_schema = 'pipedrive_seed', TRUE, @has_arrived(loaded_at))
) AS here
CROSS JOIN (
  SELECT
    COUNT(*) AS rows_in_source
  FROM @{raw_schema}.@raw_table
  WHERE
    @IF(@raw_schema = 'pipedrive_seed', TRUE, @has_arrived(loaded_at))
) AS raw_table
WHERE
  here.rows_here <> raw_table.rows_in_source
