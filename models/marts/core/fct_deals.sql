MODEL (
  name pipedrive_analytics.fct_deals,
  kind FULL,
  tags (
    marts
  ),
  grain deal_id,
  audits (
    not_null(columns := (deal_id, created_at, last_changed_at)),
    unique_values(columns := deal_id),
    non_negative(
      columns := (
        stage_entries_count,
        forward_moves_count,
        backward_moves_count,
        skipped_stages_count,
        completed_activities_count,
        sales_calls_count,
        days_to_first_stage,
        days_to_last_change
      )
    ),
    deals_conserved,
    unknown_lost_reasons,
    no_recent_changes
  ),
  description 'One row per deal of the log, as it stands: where it is, how it got there, who owns it. Join fct_stage_entries and dim_deal_owner_history on deal_id, dim_users on owner_user_id, dim_stages on current_stage_id. Pipedrive''s log does not say whether a deal is won, lost or open: a lost reason is set for deals in the last stage too, so it is a remark and no status.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    created_at = 'When the deal was created, UTC: its earliest creation in the log, or its first change when the log has none',
    first_stage_id = 'First stage the deal entered; NULL when it entered none',
    first_stage = 'Label of the first stage; NULL when unknown',
    current_stage_id = 'Stage the deal is in; NULL when it entered none',
    current_stage = 'Label of the stage it is in; NULL when unknown',
    current_stage_since = 'When it entered the stage it is in, UTC',
    furthest_funnel_step = 'Highest step among the stages it ever entered; NULL when it entered none of the funnel',
    owner_user_id = 'User who owns the deal now; NULL when the log tells none',
    creation_owner_user_id = 'First owner of the deal in the log; NULL when there is none',
    stage_entries_count = 'Number of entries into stages, repeats included',
    forward_moves_count = 'Number of moves to a later stage of the funnel, with or without skipping',
    backward_moves_count = 'Number of moves to an earlier stage of the funnel',
    skipped_stages_count = 'Number of stages of the funnel that its moves jumped over',
    completed_activities_count = 'Number of done activities of any type',
    sales_calls_count = 'Number of done sales calls',
    last_changed_at = 'When the deal last changed in the log, UTC',
    lost_reason = 'Label of the lost reason that was set last, or its text when it is no option; NULL when none is. It is no sign that the deal is lost',
    lost_reason_set_at = 'When that was set, UTC',
    days_to_first_stage = 'Days from creation to the first stage; NULL when it entered none, or before its creation',
    days_to_last_change = 'Days from creation to the last change'
  )
);

WITH changes AS (
  SELECT
    deal_id,
    field_key,
    new_value,
    change_timestamp
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    loaded_at <= @arrived_by_now(pipedrive_intermediate.int_deal_stage_history)
), lives AS (
  SELECT
    deal_id,
    COALESCE(
      MIN(CASE WHEN field_key = 'add_time' THEN change_timestamp END),
      MIN(change_timestamp)
    ) AS created_at,
    MAX(change_timestamp) AS last_changed_at
  FROM changes
  GROUP BY
    deal_id
), paths AS (
  SELECT
    deal_id,
    MAX(CASE WHEN move = 'first' THEN stage_id END) AS first_stage_id,
    MAX(CASE WHEN move = 'first' THEN stage_name END) AS first_stage,
    MIN(stage_entry_timestamp) AS first_stage_since,
    MAX(CASE WHEN stage_exit_timestamp IS NULL THEN stage_id END) AS current_stage_id,
    MAX(CASE WHEN stage_exit_timestamp IS NULL THEN stage_name END) AS current_stage,
    MAX(stage_entry_timestamp) AS current_stage_since,
    MAX(funnel_step) AS furthest_funnel_step,
    COUNT(*) AS stage_entries_count,
    COUNT(CASE WHEN move IN ('forward', 'skipped') THEN 1 END) AS forward_moves_count,
    COUNT(CASE WHEN move = 'backward' THEN 1 END) AS backward_moves_count,
    SUM(skipped_stages_count) AS skipped_stages_count
  FROM pipedrive_analytics.fct_stage_entries
  GROUP BY
    deal_id
), owners AS (
  SELECT
    deal_id,
    MAX(CASE WHEN is_current THEN user_id END) AS owner_user_id,
    MAX(CASE WHEN position = 1 THEN user_id END) AS creation_owner_user_id
  FROM (
    SELECT
      deal_id,
      user_id,
      is_current,
      ROW_NUMBER() OVER (PARTITION BY deal_id ORDER BY valid_from) AS position
    FROM pipedrive_analytics.dim_deal_owner_history
  ) AS periods
  GROUP BY
    deal_id
), completed_activities AS (
  SELECT
    deal_id,
    COUNT(*) AS completed_activities_count
  FROM pipedrive_analytics.fct_deal_activities
  WHERE
    is_completed
  GROUP BY
    deal_id
), sales_calls AS (
  SELECT
    deal_id,
    COUNT(*) AS sales_calls_count
  FROM pipedrive_analytics.fct_activities
  GROUP BY
    deal_id
), latest_lost_reasons AS (
  /* The latest is emptied when a deal is opened again: then it has no reason */
  SELECT
    deal_id,
    new_value,
    change_timestamp
  FROM (
    SELECT
      deal_id,
      new_value,
      change_timestamp,
      ROW_NUMBER() OVER (
        PARTITION BY deal_id
        ORDER BY change_timestamp DESC, COALESCE(new_value, '') COLLATE "C" DESC
      ) AS recency
    FROM changes
    WHERE
      field_key = 'lost_reason'
  ) AS lost_reason_changes
  WHERE
    recency = 1 AND NOT new_value IS NULL
)
SELECT
  lives.deal_id::BIGINT AS deal_id,
  lives.created_at::TIMESTAMP AS created_at,
  paths.first_stage_id::BIGINT AS first_stage_id,
  paths.first_stage::TEXT AS first_stage,
  paths.current_stage_id::BIGINT AS current_stage_id,
  paths.current_stage::TEXT AS current_stage,
  paths.current_stage_since::TIMESTAMP AS current_stage_since,
  paths.furthest_funnel_step::DECIMAL(4, 1) AS furthest_funnel_step,
  owners.owner_user_id::BIGINT AS owner_user_id,
  owners.creation_owner_user_id::BIGINT AS creation_owner_user_id,
  COALESCE(paths.stage_entries_count, 0)::BIGINT AS stage_entries_count,
  COALESCE(paths.forward_moves_count, 0)::BIGINT AS forward_moves_count,
  COALESCE(paths.backward_moves_count, 0)::BIGINT AS backward_moves_count,
  COALESCE(paths.skipped_stages_count, 0)::BIGINT AS skipped_stages_count,
  COALESCE(completed_activities.completed_activities_count, 0)::BIGINT AS completed_activities_count,
  COALESCE(sales_calls.sales_calls_count, 0)::BIGINT AS sales_calls_count,
  lives.last_changed_at::TIMESTAMP AS last_changed_at,
  COALESCE(reasons.lost_reason, latest_lost_reasons.new_value)::TEXT AS lost_reason,
  latest_lost_reasons.change_timestamp::TIMESTAMP AS lost_reason_set_at,
  CASE
    WHEN paths.first_stage_since >= lives.created_at
    THEN @days(@seconds_between(lives.created_at, paths.first_stage_since))
  END::DECIMAL(12, 2) AS days_to_first_stage,
  @days(@seconds_between(lives.created_at, lives.last_changed_at))::DECIMAL(12, 2) AS days_to_last_change
FROM lives
LEFT JOIN paths
  ON lives.deal_id = paths.deal_id
LEFT JOIN owners
  ON lives.deal_id = owners.deal_id
LEFT JOIN completed_activities
  ON lives.deal_id = completed_activities.deal_id
LEFT JOIN sales_calls
  ON lives.deal_id = sales_calls.deal_id
LEFT JOIN latest_lost_reasons
  ON lives.deal_id = latest_lost_reasons.deal_id
LEFT JOIN pipedrive_analytics.dim_lost_reasons AS reasons
  ON latest_lost_reasons.new_value = reasons.lost_reason_id;

@postgres_index(deal_id);

@postgres_index(created_at);

@postgres_analyze()
