MODEL (
  name pipedrive_staging.stg_users,
  kind VIEW,
  tags (
    staging
  ),
  grain user_id,
  audits (
    not_null(columns := user_id),
    unique_values(columns := (
      user_id
    )),
    rows_conserved(raw_table := users)
  ),
  description 'One row per user of the CRM. Join activities and owner changes on user_id.',
  column_descriptions (
    user_id = 'Identifier of the user',
    user_name = 'Name of the user; not unique',
    user_email = 'Address of the user; not unique',
    modified_timestamp = 'When the user was last modified, UTC'
  )
);

SELECT
  id::BIGINT AS user_id,
  name::TEXT AS user_name,
  email::TEXT AS user_email,
  modified::TIMESTAMP AS modified_timestamp
FROM @{raw_schema}.users
