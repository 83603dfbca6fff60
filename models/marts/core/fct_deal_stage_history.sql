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
    stage_entry_num = 'Which entry of the deal into this stage: always 1, the first',
    is_in_order = 'TRUE when the deal had, by first entries, passed every earlier stage of the funnel before, one after the other; NULL for a stage outside the funnel'
  )
);

@forget_touched_deals();

WITH first_entries AS (
  SELECT
    history.deal_id,
    history.stage_id,
    history.stage_name,
    history.stage_entry_timestamp,
    history.stage_entry_num,
    steps.kpi_name,
    steps.funnel_step,
    steps.stage_position,
    ROW_NUMBER() OVER (PARTITION BY history.deal_id ORDER BY steps.stage_position) AS stages_passed,
    LAG(history.stage_entry_timestamp) OVER (PARTITION BY history.deal_id ORDER BY steps.stage_position) AS previous_entry_timestamp
  FROM pipedrive_intermediate.int_deal_stage_history AS history
  LEFT JOIN pipedrive_analytics.dim_funnel_steps AS steps
    ON steps.source = 'stage' AND steps.key = history.stage_id::TEXT
  WHERE
    @was_touched(history.deal_id) AND history.stage_entry_num = 1
), ordered_entries AS (
  /* Out of order is an entry that an earlier stage is missing before, or that came before its
     predecessor, and all that follow. Stages outside the funnel come last: NULL */
  SELECT
    deal_id,
    stage_id,
    stage_name,
    kpi_name,
    funnel_step,
    stage_position,
    stage_entry_timestamp,
    stage_entry_num,
    MAX(
      CASE
        WHEN stages_passed < stage_position
        OR stage_entry_timestamp < previous_entry_timestamp
        THEN 1
        ELSE 0
      END
    ) OVER (PARTITION BY deal_id ORDER BY stage_position) = 0 AS is_in_order
  FROM first_entries
)
SELECT
  deal_id::BIGINT AS deal_id,
  stage_id::BIGINT AS stage_id,
  stage_name::TEXT AS stage_name,
  kpi_name::TEXT AS kpi_name,
  funnel_step::DECIMAL(4, 1) AS funnel_step,
  stage_entry_timestamp::TIMESTAMP AS stage_entry_timestamp,
  stage_entry_num::INT AS stage_entry_num,
  CASE WHEN NOT stage_position IS NULL THEN is_in_order END::BOOLEAN AS is_in_order
FROM ordered_entries;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
