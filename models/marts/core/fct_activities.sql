MODEL (
  name pipedrive_analytics.fct_activities,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(
      columns := (activity_id, deal_id, kpi_name, funnel_step),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (activity_id, deal_id), condition := @was_touched(deal_id)),
    steps_bear_own_names(label := activity_type_name, condition := @was_touched(deal_id)),
    totals_conserved(
      key := COALESCE(due_timestamp, '1970-01-01'),
      total := COUNT(*),
      source := pipedrive_intermediate.int_completed_activities,
      source_key := COALESCE(due_timestamp, '1970-01-01'),
      source_total := COUNT(*),
      source_condition := (
        activity_type_key IN (
          SELECT
            key
          FROM pipedrive_analytics.dim_funnel_steps
          WHERE
            source = 'activity'
        )
      )
      AND @was_touched(deal_id),
      condition := @was_touched(deal_id)
    )
  ),
  description 'One row per completed sales call and deal: completed activities whose type is a step of the funnel. Join dim_users on user_id and dim_funnel_steps on funnel_step. Answers how many calls were held, by whom and when; calls of deals that the log does not know are kept.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals',
    deal_id = 'Deal the call belongs to; may be unknown to the log',
    activity_type_key = 'Key of the activity type',
    activity_type_name = 'Label of the activity type; NULL when the type is unknown',
    user_id = 'User who owns the call',
    kpi_name = 'Name of the funnel step the call fills',
    funnel_step = 'Funnel step the call fills',
    due_timestamp = 'When the call was due, UTC; its month is the month it counts in'
  )
);

@forget_touched_deals();

SELECT
  activities.activity_id::BIGINT AS activity_id,
  activities.deal_id::BIGINT AS deal_id,
  activities.activity_type_key::TEXT AS activity_type_key,
  activities.activity_type_name::TEXT AS activity_type_name,
  activities.user_id::BIGINT AS user_id,
  steps.kpi_name::TEXT AS kpi_name,
  steps.funnel_step::DECIMAL(4, 1) AS funnel_step,
  activities.due_timestamp::TIMESTAMP AS due_timestamp
FROM pipedrive_intermediate.int_completed_activities AS activities
JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON steps.source = 'activity' AND steps.key = activities.activity_type_key
WHERE
  @was_touched(activities.deal_id);

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
