AUDIT (
  name activities_conserved
);

/* The returned row has the numbers of activities here and in staging, when they differ. */
SELECT
  facts.total AS activities,
  staged.total AS staged_activities
FROM (
  SELECT
    COUNT(*) AS total
  FROM @this_model
) AS facts
CROSS JOIN (
  SELECT
    COUNT(*) AS total
  FROM pipedrive_staging.stg_activity
) AS staged
WHERE
  facts.total <> staged.total
