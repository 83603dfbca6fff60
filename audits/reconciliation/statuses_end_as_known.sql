AUDIT (
  name statuses_end_as_known,
  defaults (
    condition = TRUE
  )
);

/* A returned row is a deal whose current status is not the last one of its log or, where the log tells none, that of the list of deals. Who is closed at an unknown time has no history. Argument: condition says which deals are compared. */
WITH known AS (
  SELECT
    deals.deal_id,
    COALESCE(
      deals.logged_status,
      CASE
        WHEN deals.status = 'open' OR NOT deals.closed_at IS NULL
        THEN deals.status
      END
    ) AS status
  FROM pipedrive_intermediate.int_deals AS deals
  WHERE
    @condition
    AND (
      NOT deals.logged_status IS NULL
      OR NOT EXISTS(
        SELECT
          1
        FROM pipedrive_intermediate.int_deal_changes AS changes
        WHERE
          changes.deal_id = deals.deal_id AND changes.field_key = 'status'
      )
    )
)
SELECT
  known.deal_id,
  known.status,
  history.status AS status_in_history
FROM known
LEFT JOIN @this_model AS history
  ON known.deal_id = history.deal_id AND history.is_current
WHERE
  COALESCE(known.status, '') <> COALESCE(history.status, '')
