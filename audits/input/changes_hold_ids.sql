AUDIT (
  name changes_hold_ids
);

/* A returned row is a change of stage or owner whose new value is no identifier. */
SELECT
  *
FROM @this_model
WHERE
  field_key IN ('stage_id', 'user_id')
  AND NOT COALESCE(new_value, '') ~ '^(0|[1-9][0-9]{0,17})$'
