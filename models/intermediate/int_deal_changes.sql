MODEL (
  name pipedrive_intermediate.int_deal_changes,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    intermediate
  ),
  grain change_id,
  audits (
    not_null(
      columns := (change_id, deal_id, field_key, change_timestamp, loaded_at),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := change_id, condition := @was_touched(deal_id)),
    changes_are_valid(condition := @was_touched(deal_id)),
    forall(
      criteria := (
        CASE
          WHEN field_key = 'user_id'
          THEN COALESCE(owner_user_id >= new_value::BIGINT, FALSE)
          ELSE TRUE
        END
      ),
      condition := @was_touched(deal_id)
    ) /* who becomes the owner owns the deal, or who else did in that second */
  ),
  description 'One row per change of a deal: the log, each change once, with the owner of the deal at that time; deleted deals are left out. Everything below reads the log here. Each run rebuilds the deals that were touched since the last one, so late, repeated, out-of-order and removed rows give what a full refresh gives.',
  column_descriptions (
    change_id = 'MD5 of deal, field, value and time: the same for the same change, wherever it is loaded',
    deal_id = 'Deal that changed',
    field_key = 'Field that changed: add_time (creation), stage_id, user_id, lost_reason, and where the source has it status',
    new_value = 'Value after the change, as text; NULL when the field was emptied',
    change_timestamp = 'When the deal changed, UTC',
    owner_user_id = 'Owner of the deal at that time. Of several owners in one second the highest user id counts, and it owns whatever happens in that second. The first owner of the log owns the deal from its first change on. NULL when the log has no owner',
    loaded_at = 'When the change first arrived, UTC; in the sample, when it happened'
  )
);

@forget_touched_deals();

WITH changes AS (
  /* A change that was delivered twice is one change, of its first arrival. The order of the keys is
     that of the window below: PostgreSQL sorts once, and compares numbers before texts */
  SELECT
    deliveries.change_id,
    deliveries.deal_id,
    deliveries.field_key,
    deliveries.new_value,
    deliveries.change_timestamp,
    MIN(deliveries.loaded_at) AS loaded_at
  FROM pipedrive_staging.stg_deal_changes AS deliveries
  WHERE
    @was_touched(deliveries.deal_id)
    AND @is_counted(deliveries.deal_id)
    AND deliveries.loaded_at <= @last_arrival()
  GROUP BY
    deliveries.deal_id,
    deliveries.change_timestamp,
    deliveries.field_key,
    deliveries.new_value,
    deliveries.change_id
), owned_changes AS (
  /* The window takes in the whole second, so that its new owner counts for all of it */
  SELECT
    change_id,
    deal_id,
    field_key,
    new_value,
    change_timestamp,
    loaded_at,
    COALESCE(
      MAX(CASE WHEN field_key = 'user_id' THEN change_timestamp END) OVER (PARTITION BY deal_id ORDER BY change_timestamp),
      MIN(CASE WHEN field_key = 'user_id' THEN change_timestamp END) OVER (PARTITION BY deal_id)
    ) AS owner_since
  FROM changes
)
SELECT
  change_id::TEXT AS change_id,
  deal_id::BIGINT AS deal_id,
  field_key::TEXT AS field_key,
  new_value::TEXT AS new_value,
  change_timestamp::TIMESTAMP AS change_timestamp,
  MAX(
    CASE
      WHEN field_key = 'user_id' AND change_timestamp = owner_since
      THEN new_value::BIGINT
    END
  ) OVER (PARTITION BY deal_id, owner_since)::BIGINT AS owner_user_id,
  loaded_at::TIMESTAMP AS loaded_at
FROM owned_changes;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
