AUDIT (
  name unknown_fields,
  blocking FALSE
);

/* A returned row is a change of a field that stg_fields does not know. Kept; a misspelt key would empty what is made from it. */
SELECT
  changes.deal_id,
  changes.field_key
FROM @this_model AS changes
WHERE
  NOT EXISTS(
    SELECT
      1
    FROM pipedrive_staging.stg_fields AS fields
    WHERE
      fields.field_key = changes.field_key
  )
