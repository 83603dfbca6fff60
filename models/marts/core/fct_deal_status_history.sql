MODEL (
  name pipedrive_analytics.fct_deal_status_history,
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
      columns := (deal_id, status, valid_from, is_current),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (deal_id, valid_from), condition := @was_touched(deal_id)),
    accepted_values(
      column := status,
      is_in := ('open', 'won', 'lost'),
      condition := @was_touched(deal_id)
    ),
    forall(
      criteria := (
        valid_to IS NULL OR valid_to > valid_from
      ),
      condition := @was_touched(deal_id)
    ),
    statuses_end_as_known(condition := @was_touched(deal_id))
  ),
  description 'One row per deal and period of one status (slowly changing, type 2). Join fct_deals on deal_id, and on time >= valid_from AND time < COALESCE(valid_to, TIMESTAMP ''9999-12-31''). Answers which deals were open at any time, reopened ones included. From the log of status changes; without any, from the time at which the deal was won or lost. Of several statuses in one second the last in byte order counts. A deal whose status, or the time of its closing, is unknown has no row.',
  column_descriptions (
    deal_id = 'Deal that has the status',
    status = 'open, won or lost',
    valid_from = 'When the period begins, UTC, inclusive; of the first one, the creation of the deal',
    valid_to = 'When the next status begins, UTC, exclusive; NULL in the current period',
    is_current = 'TRUE in the last period of the deal'
  )
);

@forget_touched_deals();

WITH logged AS (
  SELECT
    changes.deal_id,
    MAX(changes.new_value COLLATE "C") AS status,
    changes.change_timestamp AS valid_from
  FROM pipedrive_intermediate.int_deal_changes AS changes
  WHERE
    @was_touched(changes.deal_id)
    AND changes.field_key = 'status'
    AND changes.new_value IN ('open', 'won', 'lost')
  GROUP BY
    changes.deal_id,
    changes.change_timestamp
), first_logged AS (
  SELECT
    deal_id,
    MIN(valid_from) AS first_logged_at
  FROM logged
  GROUP BY
    deal_id
), starts AS (
  SELECT
    deal_id,
    status,
    valid_from
  FROM logged
  UNION ALL
  /* A deal is open from its creation to its first change of status, or to its closing */
  SELECT
    deals.deal_id,
    'open' AS status,
    deals.created_at AS valid_from
  FROM pipedrive_intermediate.int_deals AS deals
  LEFT JOIN first_logged
    ON deals.deal_id = first_logged.deal_id
  WHERE
    @was_touched(deals.deal_id)
    AND (
      deals.created_at < COALESCE(first_logged.first_logged_at, deals.closed_at)
      OR (
        first_logged.deal_id IS NULL AND deals.status = 'open'
      )
    )
  UNION ALL
  SELECT
    deals.deal_id,
    deals.status,
    deals.closed_at AS valid_from
  FROM pipedrive_intermediate.int_deals AS deals
  LEFT JOIN first_logged
    ON deals.deal_id = first_logged.deal_id
  WHERE
    @was_touched(deals.deal_id)
    AND first_logged.deal_id IS NULL
    AND NOT deals.closed_at IS NULL
), starts_with_previous AS (
  SELECT
    deal_id,
    status,
    valid_from,
    LAG(status) OVER (PARTITION BY deal_id ORDER BY valid_from) AS previous_status
  FROM starts
), periods AS (
  /* A status that is set again without having ended goes on */
  SELECT
    deal_id,
    status,
    valid_from,
    LEAD(valid_from) OVER (PARTITION BY deal_id ORDER BY valid_from) AS valid_to
  FROM starts_with_previous
  WHERE
    previous_status IS NULL OR previous_status <> status
)
SELECT
  deal_id::BIGINT AS deal_id,
  status::TEXT AS status,
  valid_from::TIMESTAMP AS valid_from,
  valid_to::TIMESTAMP AS valid_to,
  (
    valid_to IS NULL
  )::BOOLEAN AS is_current
FROM periods;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
