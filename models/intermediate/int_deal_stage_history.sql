MODEL (
  name pipedrive_intermediate.int_deal_stage_history,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    intermediate
  ),
  grain (deal_id, stage_id, stage_entry_num),
  audits (
    not_null(
      columns := (deal_id, stage_id, stage_entry_num, stage_entry_timestamp),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(
      columns := (deal_id, stage_id, stage_entry_num),
      condition := @was_touched(deal_id)
    ),
    one_creation_per_deal,
    stage_changes_conserved
  ),
  description 'One row per entry of a deal into a stage, repeats included. Join stg_stages on stage_id. Answers where a deal was at any time, for how long, and from where it came. Each run rebuilds the deals that were touched since the last one, so late, out-of-order and removed rows give what a full refresh gives.',
  column_descriptions (
    deal_id = 'Deal that entered the stage',
    stage_id = 'Stage that was entered; may be unknown to stg_stages',
    stage_entry_num = 'Which entry of the deal into this stage: 1 is the first',
    stage_name = 'Label of the stage; NULL when the stage is unknown',
    stage_entry_timestamp = 'When the deal entered the stage, UTC',
    stage_exit_timestamp = 'When the deal entered its next stage, UTC; NULL while it is there',
    previous_stage_id = 'Stage the deal came from; NULL for its first',
    owner_user_id = 'Owner of the deal when it entered, as in int_deal_changes; NULL when the log has none',
    deal_created_at = 'Earliest creation of the deal in the log, UTC; NULL when the log has none',
    loaded_at = 'When the newest input of the row arrived, UTC: a change of the deal, or the label of the stage'
  )
);

@forget_touched_deals();

WITH stage_entries AS (
  SELECT
    changes.deal_id,
    changes.new_value::BIGINT AS stage_id,
    changes.change_timestamp AS stage_entry_timestamp,
    changes.owner_user_id
  FROM pipedrive_intermediate.int_deal_changes AS changes
  WHERE
    @was_touched(changes.deal_id) AND changes.field_key = 'stage_id'
), ordered_entries AS (
  /* Entries of the same second are taken in the order of their stage ids */
  SELECT
    deal_id,
    stage_id,
    stage_entry_timestamp,
    owner_user_id,
    ROW_NUMBER() OVER (PARTITION BY deal_id, stage_id ORDER BY stage_entry_timestamp) AS stage_entry_num,
    LAG(stage_id) OVER (PARTITION BY deal_id ORDER BY stage_entry_timestamp, stage_id) AS previous_stage_id,
    LEAD(stage_entry_timestamp) OVER (PARTITION BY deal_id ORDER BY stage_entry_timestamp, stage_id) AS stage_exit_timestamp
  FROM stage_entries
)
SELECT
  ordered_entries.deal_id::BIGINT AS deal_id,
  ordered_entries.stage_id::BIGINT AS stage_id,
  ordered_entries.stage_entry_num::INT AS stage_entry_num,
  stages.stage_name::TEXT AS stage_name,
  ordered_entries.stage_entry_timestamp::TIMESTAMP AS stage_entry_timestamp,
  ordered_entries.stage_exit_timestamp::TIMESTAMP AS stage_exit_timestamp,
  ordered_entries.previous_stage_id::BIGINT AS previous_stage_id,
  ordered_entries.owner_user_id::BIGINT AS owner_user_id,
  deals.creation_logged_at::TIMESTAMP AS deal_created_at,
  GREATEST(deals.loaded_at, COALESCE(stages.loaded_at, deals.loaded_at))::TIMESTAMP AS loaded_at
FROM ordered_entries
JOIN pipedrive_intermediate.int_deals AS deals
  ON ordered_entries.deal_id = deals.deal_id
LEFT JOIN pipedrive_staging.stg_stages AS stages
  ON ordered_entries.stage_id = stages.stage_id;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
