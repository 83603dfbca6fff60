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
  description 'One row per deal of the log: its creation, its first and last change, its owners, its lost reason, its status and value. States once when a deal counts as created. Each run rebuilds the deals that were touched since the last one.',
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
    title = 'Title of the deal; NULL when unknown, as all that follows',
    pipeline_id = 'Pipeline the deal is in',
    listed_stage_id = 'Stage the deal is in, as the list of deals has it',
    status = 'open, won or lost: as the list of deals has it, or else the last one of the log',
    logged_status = 'Last status in the log; NULL when the log has none',
    closed_at = 'When the deal was won or lost, UTC: as the list of deals has it, or else the log; NULL while it is open',
    value = 'Value of the deal, in its currency',
    currency = 'Code of the currency, such as EUR',
    probability = 'Probability in per cent that somebody has given the deal; NULL when nobody has',
    expected_close_date = 'Day on which the deal is expected to be closed',
    is_deleted = 'TRUE when the deal was deleted or merged into another one, and the variable count_deleted_deals lets it count',
    is_archived = 'TRUE when the deal was archived',
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
  /* First and last change are the same in all rows of a deal: as keys, they would be sorted by */
  SELECT
    deal_id,
    MIN(first_changed_at) AS first_changed_at,
    MAX(last_changed_at) AS last_changed_at,
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
    MAX(
      CASE
        WHEN field_key = 'status' AND recency = 1 AND new_value IN ('open', 'won', 'lost')
        THEN new_value
      END
    ) AS logged_status,
    MAX(CASE WHEN field_key = 'status' AND recency = 1 THEN change_timestamp END) AS status_logged_at,
    MAX(loaded_at) AS loaded_at
  FROM changes
  GROUP BY
    deal_id
), states AS (
  SELECT
    deal_id,
    title,
    pipeline_id,
    stage_id,
    status,
    CASE
      WHEN status = 'won'
      THEN COALESCE(won_timestamp, closed_timestamp)
      WHEN status = 'lost'
      THEN COALESCE(lost_timestamp, closed_timestamp)
    END AS closed_timestamp,
    value,
    currency,
    probability,
    expected_close_date,
    is_deleted,
    is_archived
  FROM pipedrive_staging.stg_deals
  WHERE
    @was_touched(deal_id)
)
SELECT
  deals.deal_id::BIGINT AS deal_id,
  deals.creation_logged_at::TIMESTAMP AS creation_logged_at,
  COALESCE(deals.creation_logged_at, deals.first_changed_at)::TIMESTAMP AS created_at,
  deals.first_changed_at::TIMESTAMP AS first_changed_at,
  deals.last_changed_at::TIMESTAMP AS last_changed_at,
  deals.first_owner_user_id::BIGINT AS first_owner_user_id,
  deals.owner_user_id::BIGINT AS owner_user_id,
  deals.lost_reason_key::TEXT AS lost_reason_key,
  deals.lost_reason_set_at::TIMESTAMP AS lost_reason_set_at,
  deals.lost_reason_owner_user_id::BIGINT AS lost_reason_owner_user_id,
  states.title::TEXT AS title,
  states.pipeline_id::BIGINT AS pipeline_id,
  states.stage_id::BIGINT AS listed_stage_id,
  COALESCE(states.status, deals.logged_status)::TEXT AS status,
  deals.logged_status::TEXT AS logged_status,
  @plausible_time(
    CASE
      WHEN COALESCE(states.status, deals.logged_status) IN ('won', 'lost')
      THEN COALESCE(
        states.closed_timestamp,
        CASE
          WHEN COALESCE(states.status, deals.logged_status) = deals.logged_status
          THEN deals.status_logged_at
        END
      )
    END
  )::TIMESTAMP AS closed_at,
  states.value::DECIMAL(18, 3) AS value,
  states.currency::TEXT AS currency,
  states.probability::BIGINT AS probability,
  states.expected_close_date::DATE AS expected_close_date,
  states.is_deleted::BOOLEAN AS is_deleted,
  states.is_archived::BOOLEAN AS is_archived,
  deals.loaded_at::TIMESTAMP AS loaded_at
FROM deals
LEFT JOIN states
  ON deals.deal_id = states.deal_id;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
