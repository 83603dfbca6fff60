MODEL (
  name pipedrive_analytics.fct_deal_stage_history,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain (deal_id, stage_id),
  audits (
    not_null(
      columns := (deal_id, stage_id, stage_entry_timestamp),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (deal_id, stage_id), condition := @was_touched(deal_id)),
    first_entries_conserved,
    entries_are_in_funnel,
    steps_bear_own_names(label := stage_name, condition := @was_touched(deal_id))
  ),
  description 'One row per deal and stage: the first entry of the deal into the stage. Join dim_stages on stage_id and dim_funnel_steps on funnel_step. Answers how many deals reached a step, and when.',
  column_descriptions (
    deal_id = 'Deal that entered the stage',
    stage_id = 'Stage that was entered; may be unknown to dim_stages',
    stage_name = 'Label of the stage; NULL when the stage is unknown',
    kpi_name = 'Name of the funnel step the stage fills; NULL for a stage outside the funnel',
    funnel_step = 'Funnel step the stage fills; NULL for a stage outside the funnel',
    stage_entry_timestamp = 'When the deal first entered the stage, UTC; its month is the month it counts in',
    stage_entry_num = 'Which entry of the deal into this stage: always 1, the first'
  )
);

@forget_touched_deals();

WITH first_entries AS (
  SELECT
    history.deal_id,
    history.stage_id,
    history.stage_name,
    history.stage_entry_timestamp,
    history.stage_entry_num
  FROM pipedrive_intermediate.int_deal_stage_history AS history
  JOIN pipedrive_intermediate.int_touched_deals AS touched_deals
    ON history.deal_id = touched_deals.deal_id
  WHERE
    touched_deals.loaded_at > @processed_until() AND history.stage_entry_num = 1
)
SELECT
  first_entries.deal_id::BIGINT AS deal_id,
  first_entries.stage_id::BIGINT AS stage_id,
  first_entries.stage_name::TEXT AS stage_name,
  steps.kpi_name::TEXT AS kpi_name,
  steps.funnel_step::DECIMAL(4, 1) AS funnel_step,
  first_entries.stage_entry_timestamp::TIMESTAMP AS stage_entry_timestamp,
  first_entries.stage_entry_num::INT AS stage_entry_num
FROM first_entries
LEFT JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON steps.source = 'stage' AND steps.key = first_entries.stage_id::TEXT;

@postgres_index(deal_id);

@postgres_index(funnel_step, stage_entry_timestamp);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
