MODEL (
  name pipedrive_quality.chk_references,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: what refers to nothing, or identifies less than it seems to. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH owners AS (
  SELECT
    user_id,
    'activity ' || activity_id::TEXT AS owns
  FROM pipedrive_intermediate.int_activities
  WHERE
    NOT user_id IS NULL
  UNION ALL
  SELECT
    new_value::BIGINT AS user_id,
    'deal ' || deal_id::TEXT AS owns
  FROM pipedrive_intermediate.int_deal_changes
  WHERE
    field_key = 'user_id'
), unknown_users AS (
  SELECT
    owners.user_id,
    owners.owns
  FROM owners
  WHERE
    NOT EXISTS(
      SELECT
        1
      FROM pipedrive_analytics.dim_users AS users
      WHERE
        users.user_id = owners.user_id
    )
), unknown_fields AS (
  SELECT
    changes.deal_id,
    changes.field_key
  FROM pipedrive_intermediate.int_deal_changes AS changes
  WHERE
    NOT EXISTS(
      SELECT
        1
      FROM pipedrive_staging.stg_fields AS fields
      WHERE
        fields.field_key = changes.field_key
    )
), reused_activity_ids AS (
  SELECT
    activity_id
  FROM pipedrive_intermediate.int_activities
  GROUP BY
    activity_id
  HAVING
    COUNT(*) > 1
), shared_emails AS (
  SELECT
    MIN(user_id) AS first_user_id,
    COUNT(*) AS users
  FROM pipedrive_staging.stg_users
  WHERE
    NOT user_email IS NULL
  GROUP BY
    user_email
  HAVING
    COUNT(*) > 1
), shared_names AS (
  SELECT
    MIN(user_id) AS first_user_id,
    COUNT(*) AS users
  FROM pipedrive_analytics.dim_users
  WHERE
    NOT user_name IS NULL
  GROUP BY
    user_name
  HAVING
    COUNT(*) > 1
)
SELECT
  'unknown_users'::TEXT AS check_name,
  @row_as_text(user_id, owns)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM unknown_users
UNION ALL
SELECT
  'unknown_fields'::TEXT AS check_name,
  @row_as_text(deal_id, field_key)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM unknown_fields
UNION ALL
SELECT
  'reused_activity_ids'::TEXT AS check_name,
  @row_as_text(activity_id)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM reused_activity_ids
UNION ALL
SELECT
  'shared_emails'::TEXT AS check_name,
  @row_as_text(first_user_id, users)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM shared_emails
UNION ALL
SELECT
  'shared_names'::TEXT AS check_name,
  @row_as_text(first_user_id, users)::TEXT AS finding,
  NULL::BIGINT AS deal_id
FROM shared_names
