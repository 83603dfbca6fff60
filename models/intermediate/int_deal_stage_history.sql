MODEL (
  name pipedrive_intermediate.int_deal_stage_history,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key (deal_id, stage_id, stage_entry_num),
    lookback 1
  ),
  tags (
    intermediate
  ),
  grain (deal_id, stage_id, stage_entry_num),
  audits (
    not_null(columns := (deal_id, stage_id, stage_entry_num, stage_entry_timestamp)),
    unique_combination_of_columns(columns := (deal_id, stage_id, stage_entry_num)),
    one_creation_per_deal,
    stage_changes_conserved,
    vanished_stage_changes,
    changes_not_yet_processed,
    unknown_stages
  ),
  description 'One row per entry of a deal into a stage, repeats included. Join stg_stages on stage_id. Answers where a deal was at any time, for how long, and from where it came. Each run rebuilds the deals touched by rows that arrived in its interval, so late and out-of-order rows give what a full refresh gives.',
  column_descriptions (
    deal_id = 'Deal that entered the stage',
    stage_id = 'Stage that was entered; may be unknown to stg_stages',
    stage_entry_num = 'Which entry of the deal into this stage: 1 is the first',
    stage_name = 'Label of the stage; NULL when the stage is unknown',
    stage_entry_timestamp = 'When the deal entered the stage, UTC',
    stage_exit_timestamp = 'When the deal entered its next stage, UTC; NULL while it is there',
    previous_stage_id = 'Stage the deal came from; NULL for its first',
    deal_created_at = 'When the deal was created, UTC: the earliest creation in the log',
    loaded_at = 'When the newest input of the row arrived, UTC: a change of the deal, or the label of the stage'
  )
);

WITH touched_deals AS (
  SELECT
    deal_id
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    loaded_at BETWEEN @start_ts::TIMESTAMP AND @last_arrival()
  UNION
  /* A stage that arrives or is renamed after its deals relabels their history */
  SELECT
    changes.deal_id
  FROM pipedrive_staging.stg_deal_changes AS changes
  JOIN pipedrive_staging.stg_stages AS stages
    ON changes.new_value = stages.stage_id::TEXT
  WHERE
    changes.field_key = 'stage_id'
    AND stages.loaded_at BETWEEN @start_ts::TIMESTAMP AND @last_arrival()
), touched_changes AS (
  SELECT
    changes.deal_id,
    changes.field_key,
    changes.new_value,
    changes.change_timestamp,
    changes.loaded_at
  FROM pipedrive_staging.stg_deal_changes AS changes
  JOIN touched_deals
    ON changes.deal_id = touched_deals.deal_id
  WHERE
    changes.loaded_at <= @last_arrival()
), deals AS (
  /* A deal can carry several creations: one row a deal, or the join multiplies its entries */
  SELECT
    deal_id,
    MIN(CASE WHEN field_key = 'add_time' THEN change_timestamp END) AS deal_created_at,
    MAX(loaded_at) AS loaded_at
  FROM touched_changes
  GROUP BY
    deal_id
), stage_entries AS (
  SELECT
    deal_id,
    new_value::BIGINT AS stage_id,
    change_timestamp AS stage_entry_timestamp
  FROM touched_changes
  WHERE
    field_key = 'stage_id'
), ordered_entries AS (
  /* Entries of the same second are taken in the order of their stage ids */
  SELECT
    deal_id,
    stage_id,
    stage_entry_timestamp,
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
  deals.deal_created_at::TIMESTAMP AS deal_created_at,
  (
    CASE
      WHEN stages.loaded_at BETWEEN deals.loaded_at AND @last_arrival()
      THEN stages.loaded_at
      ELSE deals.loaded_at
    END /* A stage that arrives after what the interval takes in counts in its own */
  )::TIMESTAMP AS loaded_at
FROM ordered_entries
JOIN deals
  ON ordered_entries.deal_id = deals.deal_id
LEFT JOIN pipedrive_staging.stg_stages AS stages
  ON ordered_entries.stage_id = stages.stage_id;

@postgres_index(deal_id);

@postgres_index(loaded_at);

@postgres_analyze()
