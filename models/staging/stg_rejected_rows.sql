MODEL (
  name pipedrive_staging.stg_rejected_rows,
  kind VIEW,
  tags (
    staging
  ),
  grain reject_id,
  audits (
    not_null(columns := (reject_id, table_name, file_name, reason)),
    unique_values(columns := reject_id)
  ),
  description 'One row per row of the latest export, or row or single value of the API, that could not be landed. The sample has none. Answers what is missing in the numbers, and why.',
  column_descriptions (
    reject_id = 'MD5 of file, line, column and text',
    table_name = 'Raw table the row was for',
    file_name = 'File that holds the row, or path of the API',
    line = 'Line of the file at which the row begins, 1 is the first; NULL when another tool does not tell it',
    column_name = 'Column whose value does not fit; NULL when the row as such is broken',
    reason = 'Defect of the row, and its repair',
    raw_text = 'The row as it stands in the file, 10000 characters at most',
    loaded_at = 'When it was first rejected, UTC'
  ),
  ignored_rules (
    nojoinsinstaging
  ) /* the sample has no raw table to read */
);

WITH no_rows AS (
  SELECT
    NULL AS table_name,
    NULL AS file_name,
    NULL AS line,
    NULL AS column_name,
    NULL AS reason,
    NULL AS raw_text,
    NULL AS loaded_at
  LIMIT 0
)
SELECT
  MD5(
    CONCAT_WS('|', file_name, COALESCE(line::TEXT, ''), COALESCE(column_name, ''), raw_text)
  )::TEXT AS reject_id,
  table_name::TEXT AS table_name,
  file_name::TEXT AS file_name,
  line::BIGINT AS line,
  column_name::TEXT AS column_name,
  reason::TEXT AS reason,
  raw_text::TEXT AS raw_text,
  loaded_at::TIMESTAMP AS loaded_at
FROM @IF(@raw_schema = 'pipedrive_seed', no_rows, pipedrive_raw.rejected_rows)
