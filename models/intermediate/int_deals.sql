MODEL (
  name pipedrive_intermediate.int_deals,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    intermediate
  ),
  grain deal_id,
  audits (
    not_null(
      columns := (deal_id, created_at, first_changed_at, last_changed_at),
      condition := @was_touched(deal_id)
    ),
    unique_values(columns := deal_id, condition := @was_touched(deal_id))
  ),
  description 'One row per deal of the log: its creation, its first and last change, its owners, its lost reason. States once when a deal counts as created. Each run rebuilds the deals that were touched since the last one.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    creation_logged_at = 'Earliest creation (add_time) in the log, UTC; NULL when the log has none. A deal can carry several',
    created_at = 'When the deal counts as created, UTC: creation_logged_at, or the first change when the log has no creation',
    first_changed_at = 'First change of any field, UTC',
    last_changed_at = 'Last change of any field, UTC',
    first_owner_user_id = 'First owner in the log; NULL when the log has none',
    owner_user_id = 'Owner after the last change; NULL when the log has none',
    lost_reason_key = 'Lost reason that was set last: id of an option, or a text. Of several in one second the last in byte order counts. NULL when none was set, or the last change emptied it',
    lost_reason_set_at = 'When that was set, UTC; setting the same reason again moves it',
    lost_reason_owner_user_id = 'Owner of the deal at that time; NULL when the log has none',
    loaded_at = 'When the newest change of the deal arrived, UTC'
  )
);

@forget_touched_deals();

WITH changes AS (
  SELECT
    changes.deal_id,
    changes.field_key,
    changes.new_value,
    changes.change_timestamp,
    changes.owner_user_id,
    changes.loaded_at,
    MIN(changes.change_timestamp) OVER (PARTITION BY changes.deal_id) AS first_changed_at,
    MAX(changes.change_timestamp) OVER (PARTITION BY changes.deal_id) AS last_changed_at,
    ROW_NUMBER() OVER (
      PARTITION BY changes.deal_id, changes.field_key
      ORDER BY changes.change_timestamp DESC, COALESCE(changes.new_value, '') COLLATE "C" DESC
    ) AS recency
  FROM pipedrive_intermediate.int_deal_changes AS changes
  WHERE
    @was_touched(changes.deal_id)
), deals AS (
  SELECT
    deal_id,
    first_changed_at,
    last_changed_at,
    MIN(CASE WHEN field_key = 'add_time' THEN change_timestamp END) AS creation_logged_at,
    MAX(CASE WHEN change_timestamp = first_changed_at THEN owner_user_id END) AS first_owner_user_id,
    MAX(CASE WHEN change_timestamp = last_changed_at THEN owner_user_id END) AS owner_user_id,
    MAX(CASE WHEN field_key = 'lost_reason' AND recency = 1 THEN new_value END) AS lost_reason_key,
    MAX(
      CASE
        WHEN field_key = 'lost_reason' AND recency = 1 AND NOT new_value IS NULL
        THEN change_timestamp
      END
    ) AS lost_reason_set_at,
    MAX(
      CASE
        WHEN field_key = 'lost_reason' AND recency = 1 AND NOT new_value IS NULL
        THEN owner_user_id
      END
    ) AS lost_reason_owner_user_id,
    MAX(loaded_at) AS loaded_at
  FROM changes
  GROUP BY
    deal_id,
    first_changed_at,
    last_changed_at
)
SELECT
  deal_id::BIGINT AS deal_id,
  creation_logged_at::TIMESTAMP AS creation_logged_at,
  COALESCE(creation_logged_at, first_changed_at)::TIMESTAMP AS created_at,
  first_changed_at::TIMESTAMP AS first_changed_at,
  last_changed_at::TIMESTAMP AS last_changed_at,
  first_owner_user_id::BIGINT AS first_owner_user_id,
  owner_user_id::BIGINT AS owner_user_id,
  lost_reason_key::TEXT AS lost_reason_key,
  lost_reason_set_at::TIMESTAMP AS lost_reason_set_at,
  lost_reason_owner_user_id::BIGINT AS lost_reason_owner_user_id,
  loaded_at::TIMESTAMP AS loaded_at
FROM deals;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
