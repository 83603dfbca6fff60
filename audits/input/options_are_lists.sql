AUDIT (
  name options_are_lists,
  blocking FALSE
);

/* A returned row is a field whose options are no JSON list. It counts as a field without options. */
SELECT
  field_key,
  field_value_options
FROM @this_model
WHERE
  NOT @is_json_array(field_value_options)
