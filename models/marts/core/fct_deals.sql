MODEL (
  name pipedrive_analytics.fct_deals,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain deal_id,
  audits (
    not_null(
      columns := (deal_id, created_at, last_changed_at),
      condition := @was_touched(deal_id)
    ),
    unique_values(columns := deal_id, condition := @was_touched(deal_id)),
    non_negative(
      columns := (
        stage_entries_count,
        forward_moves_count,
        backward_moves_count,
        skipped_stages_count,
        completed_activities_count,
        sales_calls_count,
        days_to_first_stage,
        days_to_last_change,
        days_to_close
      ),
      condition := @was_touched(deal_id)
    ),
    accepted_values(
      column := status,
      is_in := ('open', 'won', 'lost'),
      condition := @was_touched(deal_id)
    ),
    forall(
      criteria := ((
          won_at IS NULL OR status = 'won'
        ), (
          lost_at IS NULL OR status = 'lost'
      )),
      condition := @was_touched(deal_id)
    ),
    totals_conserved(
      key := deal_id,
      total := SUM(stage_entries_count),
      source := pipedrive_analytics.fct_stage_entries,
      source_key := deal_id,
      source_total := COUNT(*),
      source_condition := @was_touched(deal_id),
      condition := @was_touched(deal_id)
    ),
    totals_conserved(
      key := DATE_TRUNC('MONTH', created_at),
      total := COUNT(*),
      source := pipedrive_intermediate.int_deals,
      source_key := DATE_TRUNC('MONTH', created_at),
      source_total := COUNT(*),
      source_condition := @was_touched(deal_id),
      condition := @was_touched(deal_id)
    )
  ),
  description 'One row per deal of the log, as it stands: where it is, how it got there, who owns it. Join fct_stage_entries and dim_deal_owner_history on deal_id, dim_users on owner_user_id, dim_stages on current_stage_id. Status, value and pipeline are NULL where the source does not tell them, as an export of six files. A lost reason is set for deals in the last stage too, so it is a remark and no status.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    created_at = 'When the deal was created, UTC: its earliest creation in the log, or its first change when the log has none',
    first_stage_id = 'First stage the deal entered; NULL when it entered none',
    first_stage = 'Label of the first stage; NULL when unknown',
    current_stage_id = 'Stage the deal is in; NULL when it entered none',
    current_stage = 'Label of the stage it is in; NULL when unknown',
    current_stage_since = 'When it entered the stage it is in, UTC',
    furthest_funnel_step = 'Highest step among the stages it ever entered; NULL when it entered none of the funnel',
    furthest_funnel_step_in_order = 'Highest step up to which it passed every stage of the funnel, by first entries one after the other; NULL when it has not been in the first',
    owner_user_id = 'User who owns the deal now; NULL when the log tells none',
    creation_owner_user_id = 'First owner of the deal in the log; NULL when there is none',
    stage_entries_count = 'Number of entries into stages, repeats included',
    forward_moves_count = 'Number of moves to a later stage of the funnel, with or without skipping',
    backward_moves_count = 'Number of moves to an earlier stage of the funnel',
    skipped_stages_count = 'Number of stages of the funnel that its moves jumped over',
    completed_activities_count = 'Number of done activities of any type, sales calls among them',
    sales_calls_count = 'Number of done sales calls; completed_activities_count has them too',
    last_changed_at = 'When the deal last changed in the log, UTC',
    lost_reason = 'Label of the lost reason that was set last, or its text when it is no option; NULL when none was, or the last change emptied it. Of several in one second the last in byte order counts. It is no sign that the deal is lost',
    lost_reason_set_at = 'When that was set, UTC; setting the same reason again moves it',
    lost_reason_owner_user_id = 'Owner of the deal at that time; NULL when the log has none',
    days_to_first_stage = 'Days from creation to the first stage; NULL when it entered none, or before its creation',
    days_to_last_change = 'Days from creation to the last change',
    title = 'Title of the deal; NULL when unknown, as all that follows',
    pipeline_id = 'Pipeline the deal is in',
    status = 'open, won or lost',
    value = 'Value of the deal, in its currency; never to be added up over several',
    currency = 'Code of the currency, such as EUR',
    probability = 'Probability in per cent that somebody has given the deal; NULL when nobody has',
    expected_close_date = 'Day on which the deal is expected to be closed',
    won_at = 'When the deal was won, UTC; NULL unless it is won now',
    lost_at = 'When the deal was lost, UTC; NULL unless it is lost now',
    days_to_close = 'Days from creation to winning or losing; NULL while the deal is open, or when it was closed before its creation',
    is_deleted = 'TRUE when the deal was deleted or merged into another one; such deals are here only if the variable count_deleted_deals is set',
    is_archived = 'TRUE when the deal was archived'
  )
);

@forget_touched_deals();

WITH paths AS (
  SELECT
    entries.deal_id,
    MAX(CASE WHEN entries.move = 'first' THEN entries.stage_id END) AS first_stage_id,
    MAX(CASE WHEN entries.move = 'first' THEN entries.stage_name END) AS first_stage,
    MIN(entries.stage_entry_timestamp) AS first_stage_since,
    MAX(CASE WHEN entries.stage_exit_timestamp IS NULL THEN entries.stage_id END) AS current_stage_id,
    MAX(CASE WHEN entries.stage_exit_timestamp IS NULL THEN entries.stage_name END) AS current_stage,
    MAX(entries.stage_entry_timestamp) AS current_stage_since,
    MAX(entries.funnel_step) AS furthest_funnel_step,
    COUNT(*) AS stage_entries_count,
    COUNT(CASE WHEN entries.move IN ('forward', 'skipped') THEN 1 END) AS forward_moves_count,
    COUNT(CASE WHEN entries.move = 'backward' THEN 1 END) AS backward_moves_count,
    SUM(entries.skipped_stages_count) AS skipped_stages_count
  FROM pipedrive_analytics.fct_stage_entries AS entries
  WHERE
    @was_touched(entries.deal_id)
  GROUP BY
    entries.deal_id
), paths_in_order AS (
  SELECT
    entries.deal_id,
    MAX(entries.funnel_step) AS furthest_funnel_step_in_order
  FROM pipedrive_analytics.fct_deal_stage_history AS entries
  WHERE
    @was_touched(entries.deal_id) AND entries.is_in_order
  GROUP BY
    entries.deal_id
), completed_activities AS (
  SELECT
    activities.deal_id,
    COUNT(*) AS completed_activities_count
  FROM pipedrive_analytics.fct_deal_activities AS activities
  WHERE
    @was_touched(activities.deal_id) AND activities.is_completed
  GROUP BY
    activities.deal_id
), sales_calls AS (
  SELECT
    calls.deal_id,
    COUNT(*) AS sales_calls_count
  FROM pipedrive_analytics.fct_activities AS calls
  WHERE
    @was_touched(calls.deal_id)
  GROUP BY
    calls.deal_id
)
SELECT
  deals.deal_id::BIGINT AS deal_id,
  deals.created_at::TIMESTAMP AS created_at,
  paths.first_stage_id::BIGINT AS first_stage_id,
  paths.first_stage::TEXT AS first_stage,
  paths.current_stage_id::BIGINT AS current_stage_id,
  paths.current_stage::TEXT AS current_stage,
  paths.current_stage_since::TIMESTAMP AS current_stage_since,
  paths.furthest_funnel_step::DECIMAL(4, 1) AS furthest_funnel_step,
  paths_in_order.furthest_funnel_step_in_order::DECIMAL(4, 1) AS furthest_funnel_step_in_order,
  deals.owner_user_id::BIGINT AS owner_user_id,
  deals.first_owner_user_id::BIGINT AS creation_owner_user_id,
  COALESCE(paths.stage_entries_count, 0)::BIGINT AS stage_entries_count,
  COALESCE(paths.forward_moves_count, 0)::BIGINT AS forward_moves_count,
  COALESCE(paths.backward_moves_count, 0)::BIGINT AS backward_moves_count,
  COALESCE(paths.skipped_stages_count, 0)::BIGINT AS skipped_stages_count,
  COALESCE(completed_activities.completed_activities_count, 0)::BIGINT AS completed_activities_count,
  COALESCE(sales_calls.sales_calls_count, 0)::BIGINT AS sales_calls_count,
  deals.last_changed_at::TIMESTAMP AS last_changed_at,
  COALESCE(reasons.lost_reason, deals.lost_reason_key)::TEXT AS lost_reason,
  deals.lost_reason_set_at::TIMESTAMP AS lost_reason_set_at,
  deals.lost_reason_owner_user_id::BIGINT AS lost_reason_owner_user_id,
  CASE
    WHEN paths.first_stage_since >= deals.created_at
    THEN @days(@seconds_between(deals.created_at, paths.first_stage_since))
  END::DECIMAL(12, 2) AS days_to_first_stage,
  @days(@seconds_between(deals.created_at, deals.last_changed_at))::DECIMAL(12, 2) AS days_to_last_change,
  deals.title::TEXT AS title,
  deals.pipeline_id::BIGINT AS pipeline_id,
  deals.status::TEXT AS status,
  deals.value::DECIMAL(18, 3) AS value,
  deals.currency::TEXT AS currency,
  deals.probability::BIGINT AS probability,
  deals.expected_close_date::DATE AS expected_close_date,
  CASE WHEN deals.status = 'won' THEN deals.closed_at END::TIMESTAMP AS won_at,
  CASE WHEN deals.status = 'lost' THEN deals.closed_at END::TIMESTAMP AS lost_at,
  CASE
    WHEN deals.closed_at >= deals.created_at
    THEN @days(@seconds_between(deals.created_at, deals.closed_at))
  END::DECIMAL(12, 2) AS days_to_close,
  deals.is_deleted::BOOLEAN AS is_deleted,
  deals.is_archived::BOOLEAN AS is_archived
FROM pipedrive_intermediate.int_deals AS deals
LEFT JOIN paths
  ON deals.deal_id = paths.deal_id
LEFT JOIN paths_in_order
  ON deals.deal_id = paths_in_order.deal_id
LEFT JOIN completed_activities
  ON deals.deal_id = completed_activities.deal_id
LEFT JOIN sales_calls
  ON deals.deal_id = sales_calls.deal_id
LEFT JOIN pipedrive_analytics.dim_lost_reasons AS reasons
  ON deals.lost_reason_key = reasons.lost_reason_id
WHERE
  @was_touched(deals.deal_id);

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
