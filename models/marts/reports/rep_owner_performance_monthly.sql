MODEL (
  name pipedrive_analytics.rep_owner_performance_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, user_id, measure, item),
  audits (
    not_null(columns := (month, user_id, measure, item, events_count, as_of)),
    unique_combination_of_columns(columns := (month, user_id, measure, item)),
    accepted_values(
      column := measure,
      is_in := (
        'stage entries',
        'completed activities',
        'planned activities',
        'overdue activities',
        'sales calls',
        'lost reasons'
      )
    ),
    owner_entries_conserved
  ),
  description 'One row per month, user, measure and item: what each user''s deals and activities did in the month. Join dim_users on user_id. Answers whose deals move, who calls and plans, and whose deals get a lost reason. Deals count for their owner at the time, activities for the user they are assigned to. Activities without due time have no month and are left out.',
  column_descriptions (
    month = 'First day of the month, UTC: of the entry, of the due time, of the setting of the lost reason',
    user_id = 'User the events count for; -1 when the log tells no owner',
    user_name = 'Name of the user; NULL when unknown',
    measure = 'Kind of event: stage entries (first entries of deals), completed activities, planned activities (not done, and due on the execution date or later), overdue activities (not done, and due before it), sales calls (done; completed activities have them too), lost reasons (set in the month and still standing)',
    item = 'Of which kind: name of the funnel step, label of the activity type, lost reason',
    funnel_step = 'Funnel step of stage entries and sales calls; NULL for the others',
    events_count = 'Number of first entries, activities, calls or deals',
    as_of = 'Execution date, UTC: what is planned and what is overdue is of this day'
  )
);

WITH entries AS (
  SELECT
    DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE AS month,
    COALESCE(user_id, -1) AS user_id,
    funnel_step,
    kpi_name,
    COUNT(*) AS events_count
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    stage_entry_num = 1 AND NOT funnel_step IS NULL
  GROUP BY
    DATE_TRUNC('MONTH', stage_entry_timestamp)::DATE,
    COALESCE(user_id, -1),
    funnel_step,
    kpi_name
), due_activities AS (
  SELECT
    DATE_TRUNC('MONTH', due_timestamp)::DATE AS month,
    COALESCE(user_id, -1) AS user_id,
    CASE
      WHEN is_completed
      THEN 'completed activities'
      WHEN due_timestamp < @execution_ds::TIMESTAMP
      THEN 'overdue activities'
      ELSE 'planned activities'
    END AS measure,
    COALESCE(activity_type_name, activity_type_key, 'unknown') AS activity_type
  FROM pipedrive_analytics.fct_deal_activities
  WHERE
    NOT due_timestamp IS NULL
), activities AS (
  SELECT
    month,
    user_id,
    measure,
    activity_type,
    COUNT(*) AS events_count
  FROM due_activities
  GROUP BY
    month,
    user_id,
    measure,
    activity_type
), calls AS (
  SELECT
    DATE_TRUNC('MONTH', due_timestamp)::DATE AS month,
    COALESCE(user_id, -1) AS user_id,
    funnel_step,
    kpi_name,
    COUNT(*) AS events_count
  FROM pipedrive_analytics.fct_activities
  WHERE
    NOT due_timestamp IS NULL
  GROUP BY
    DATE_TRUNC('MONTH', due_timestamp)::DATE,
    COALESCE(user_id, -1),
    funnel_step,
    kpi_name
), lost_reasons AS (
  SELECT
    DATE_TRUNC('MONTH', lost_reason_set_at)::DATE AS month,
    COALESCE(lost_reason_owner_user_id, -1) AS user_id,
    lost_reason,
    COUNT(*) AS events_count
  FROM pipedrive_analytics.fct_deals
  WHERE
    NOT lost_reason_set_at IS NULL
  GROUP BY
    DATE_TRUNC('MONTH', lost_reason_set_at)::DATE,
    COALESCE(lost_reason_owner_user_id, -1),
    lost_reason
), monthly_events AS (
  SELECT
    month,
    user_id,
    'stage entries' AS measure,
    kpi_name AS item,
    funnel_step,
    events_count
  FROM entries
  UNION ALL
  SELECT
    month,
    user_id,
    measure,
    activity_type AS item,
    NULL AS funnel_step,
    events_count
  FROM activities
  UNION ALL
  SELECT
    month,
    user_id,
    'sales calls' AS measure,
    kpi_name AS item,
    funnel_step,
    events_count
  FROM calls
  UNION ALL
  SELECT
    month,
    user_id,
    'lost reasons' AS measure,
    lost_reason AS item,
    NULL AS funnel_step,
    events_count
  FROM lost_reasons
)
SELECT
  events.month::DATE AS month,
  events.user_id::BIGINT AS user_id,
  users.user_name::TEXT AS user_name,
  events.measure::TEXT AS measure,
  events.item::TEXT AS item,
  events.funnel_step::DECIMAL(4, 1) AS funnel_step,
  events.events_count::BIGINT AS events_count,
  @execution_ds::DATE AS as_of
FROM monthly_events AS events
LEFT JOIN pipedrive_analytics.dim_users AS users
  ON events.user_id = users.user_id;

@postgres_analyze()
