AUDIT (
  name changes_are_valid,
  defaults (
    condition = TRUE
  )
);

/* A returned row is a change of stage or owner whose new value is no identifier, or a change at a time that nobody can mean. */
SELECT
  *
FROM @this_model
WHERE
  @condition
  AND (
    (
      field_key IN ('stage_id', 'user_id')
      AND NOT COALESCE(new_value, '') ~ '^(0|[1-9][0-9]{0,17})$'
    )
    OR (
      NOT change_timestamp IS NULL AND @plausible_time(change_timestamp) IS NULL
    )
  )
