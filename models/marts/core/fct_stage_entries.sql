MODEL (
  name pipedrive_analytics.fct_stage_entries,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain (deal_id, stage_id, stage_entry_num),
  audits (
    not_null(
      columns := (
        deal_id,
        stage_id,
        stage_entry_num,
        stage_entry_timestamp,
        move,
        skipped_stages_count
      ),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(
      columns := (deal_id, stage_id, stage_entry_num),
      condition := @was_touched(deal_id)
    ),
    accepted_values(
      column := move,
      is_in := ('first', 'forward', 'skipped', 'backward', 'repeated', 'outside'),
      condition := @was_touched(deal_id)
    ),
    non_negative(
      columns := (seconds_in_stage, seconds_in_previous_stage, skipped_stages_count),
      condition := @was_touched(deal_id)
    ),
    all_entries_conserved,
    forall(
      criteria := (
        (
          move = 'skipped'
        ) = (
          skipped_stages_count > 0
        )
      ),
      condition := @was_touched(deal_id)
    )
  ),
  description 'One row per entry of a deal into a stage, repeats included, with the way it came and the owner at the time. fct_deal_stage_history has the first entries only, which are what the funnel counts. Join dim_stages on stage_id, dim_users on user_id and fct_deals on deal_id. Answers where deals go, how long they stay and who owned them then.',
  column_descriptions (
    deal_id = 'Deal that entered the stage',
    stage_id = 'Stage that was entered; may be unknown to dim_stages',
    stage_entry_num = 'Which entry of the deal into this stage: 1 is the first',
    stage_name = 'Label of the stage; NULL when the stage is unknown',
    kpi_name = 'Name of the funnel step the stage fills; NULL for a stage outside the funnel',
    funnel_step = 'Funnel step the stage fills; NULL for a stage outside the funnel',
    user_id = 'Owner of the deal when it entered; who took over in the same second is the owner. NULL when the log tells none',
    stage_entry_timestamp = 'When the deal entered the stage, UTC',
    stage_exit_timestamp = 'When the deal entered its next stage, UTC; NULL while it is there',
    seconds_in_stage = 'Whole seconds from entry to exit; NULL while it is there',
    previous_stage_id = 'Stage the deal came from; NULL for its first',
    seconds_in_previous_stage = 'Whole seconds it had stayed there; NULL for its first stage',
    move = 'How it came: first (from no stage), forward (to the next stage of the funnel), skipped (further), backward, repeated (into the same stage), outside (from or to a stage outside the funnel)',
    skipped_stages_count = 'Number of stages of the funnel that the move jumped over'
  )
);

@forget_touched_deals();

WITH stage_positions AS (
  SELECT
    key AS stage_key,
    kpi_name,
    funnel_step,
    stage_position
  FROM pipedrive_analytics.dim_funnel_steps
  WHERE
    source = 'stage'
), visits AS (
  SELECT
    history.deal_id,
    history.stage_id,
    history.stage_entry_num,
    history.stage_name,
    history.owner_user_id,
    history.stage_entry_timestamp,
    history.stage_exit_timestamp,
    history.previous_stage_id,
    LAG(history.stage_entry_timestamp) OVER (
      PARTITION BY history.deal_id
      ORDER BY history.stage_entry_timestamp, history.stage_id
    ) AS previous_stage_entry_timestamp
  FROM pipedrive_intermediate.int_deal_stage_history AS history
  WHERE
    @was_touched(history.deal_id)
), entries AS (
  SELECT
    visits.deal_id,
    visits.stage_id,
    visits.stage_entry_num,
    visits.stage_name,
    places.kpi_name,
    places.funnel_step,
    visits.owner_user_id,
    visits.stage_entry_timestamp,
    visits.stage_exit_timestamp,
    @seconds_between(visits.stage_entry_timestamp, visits.stage_exit_timestamp) AS seconds_in_stage,
    visits.previous_stage_id,
    @seconds_between(visits.previous_stage_entry_timestamp, visits.stage_entry_timestamp) AS seconds_in_previous_stage,
    places.stage_position - previous_places.stage_position AS steps_ahead
  FROM visits
  LEFT JOIN stage_positions AS places
    ON visits.stage_id::TEXT = places.stage_key
  LEFT JOIN stage_positions AS previous_places
    ON visits.previous_stage_id::TEXT = previous_places.stage_key
)
SELECT
  entries.deal_id::BIGINT AS deal_id,
  entries.stage_id::BIGINT AS stage_id,
  entries.stage_entry_num::INT AS stage_entry_num,
  entries.stage_name::TEXT AS stage_name,
  entries.kpi_name::TEXT AS kpi_name,
  entries.funnel_step::DECIMAL(4, 1) AS funnel_step,
  entries.owner_user_id::BIGINT AS user_id,
  entries.stage_entry_timestamp::TIMESTAMP AS stage_entry_timestamp,
  entries.stage_exit_timestamp::TIMESTAMP AS stage_exit_timestamp,
  entries.seconds_in_stage::BIGINT AS seconds_in_stage,
  entries.previous_stage_id::BIGINT AS previous_stage_id,
  entries.seconds_in_previous_stage::BIGINT AS seconds_in_previous_stage,
  (
    CASE
      WHEN entries.previous_stage_id IS NULL
      THEN 'first'
      WHEN entries.previous_stage_id = entries.stage_id
      THEN 'repeated'
      WHEN entries.steps_ahead IS NULL
      THEN 'outside'
      WHEN entries.steps_ahead < 0
      THEN 'backward'
      WHEN entries.steps_ahead = 1
      THEN 'forward'
      ELSE 'skipped'
    END
  )::TEXT AS move,
  GREATEST(COALESCE(entries.steps_ahead, 0) - 1, 0)::INT AS skipped_stages_count
FROM entries;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
