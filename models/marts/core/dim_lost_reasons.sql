MODEL (
  name pipedrive_analytics.dim_lost_reasons,
  kind FULL,
  tags (
    marts
  ),
  grain lost_reason_id,
  audits (not_null(columns := lost_reason_id), unique_values(columns := lost_reason_id)),
  description 'One row per lost reason that can be chosen: the options of the deal field lost_reason. fct_deals holds the labels. Answers which reasons there are, also those that no deal has.',
  column_descriptions (
    lost_reason_id = 'Identifier of the option',
    lost_reason = 'Label people see; the identifier when there is none'
  )
);

SELECT
  option_id::TEXT AS lost_reason_id,
  COALESCE(option_label, option_id)::TEXT AS lost_reason
FROM pipedrive_intermediate.int_field_options
WHERE
  field_key = 'lost_reason';

@postgres_analyze()
