AUDIT (
  name no_recent_changes,
  blocking FALSE
);

/* The returned row is the latest change of a deal, when it is more days before the execution date than the variable monitor_days_without_change allows. */
SELECT
  MAX(last_changed_at) AS last_changed_at
FROM @this_model
WHERE
  last_changed_at < @execution_ds::DATE + INTERVAL '1 DAY'
HAVING
  MAX(last_changed_at) < @execution_ds::DATE - INTERVAL '1 DAY' * @monitor_days_without_change::INT
