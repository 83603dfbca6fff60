MODEL (
  name pipedrive_analytics.dim_deal_owner_history,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ), /* The log tells the past, which a SCD_TYPE_2 model would only see from now on */
  tags (
    marts
  ),
  grain (deal_id, valid_from),
  audits (
    not_null(
      columns := (deal_id, user_id, valid_from, is_current),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (deal_id, valid_from), condition := @was_touched(deal_id)),
    ownership_covers_life
  ),
  description 'One row per deal and period of one owner (slowly changing, type 2). Join on deal_id and time >= valid_from AND time < COALESCE(valid_to, TIMESTAMP ''9999-12-31''); dim_users on user_id. Answers who owned a deal at any time. The first owner of the log owns the deal from its first change on. Of several owners in one second the highest user id counts. A deal without an owner in the log has no row.',
  column_descriptions (
    deal_id = 'Deal that is owned',
    user_id = 'User who owns it in the period; may be unknown to dim_users',
    valid_from = 'When the period begins, UTC, inclusive',
    valid_to = 'When the next owner takes over, UTC, exclusive; NULL in the current period',
    is_current = 'TRUE in the last period of the deal'
  )
);

@forget_touched_deals();

WITH owner_changes AS (
  /* The changes of one second name one owner, the one that counts */
  SELECT DISTINCT
    changes.deal_id,
    changes.change_timestamp,
    changes.owner_user_id AS user_id,
    deals.first_changed_at
  FROM pipedrive_intermediate.int_deal_changes AS changes
  JOIN pipedrive_intermediate.int_deals AS deals
    ON changes.deal_id = deals.deal_id
  WHERE
    @was_touched(changes.deal_id) AND changes.field_key = 'user_id'
), owner_changes_with_previous AS (
  SELECT
    deal_id,
    change_timestamp,
    first_changed_at,
    user_id,
    LAG(user_id) OVER (PARTITION BY deal_id ORDER BY change_timestamp) AS previous_user_id
  FROM owner_changes
), periods AS (
  /* Somebody who is made the owner again without having ceased to be goes on */
  SELECT
    deal_id,
    user_id,
    CASE WHEN previous_user_id IS NULL THEN first_changed_at ELSE change_timestamp END AS valid_from
  FROM owner_changes_with_previous
  WHERE
    previous_user_id IS NULL OR previous_user_id <> user_id
), bounded_periods AS (
  SELECT
    deal_id,
    user_id,
    valid_from,
    LEAD(valid_from) OVER (PARTITION BY deal_id ORDER BY valid_from) AS valid_to
  FROM periods
)
SELECT
  deal_id::BIGINT AS deal_id,
  user_id::BIGINT AS user_id,
  valid_from::TIMESTAMP AS valid_from,
  valid_to::TIMESTAMP AS valid_to,
  (
    valid_to IS NULL
  )::BOOLEAN AS is_current
FROM bounded_periods;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
