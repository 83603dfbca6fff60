AUDIT (
  name owner_entries_conserved
);

/* A returned row is a measure and step whose events, over all months and users, are not those of the facts. What is overdue is so on the day that the model was computed. */
SELECT
  COALESCE(here.measure, facts.measure) AS measure,
  COALESCE(here.funnel_step, facts.funnel_step) AS funnel_step,
  here.total AS events_here,
  facts.total AS events_in_facts
FROM (
  SELECT
    measure,
    COALESCE(funnel_step, 0) AS funnel_step,
    SUM(events_count) AS total
  FROM @this_model
  GROUP BY
    measure,
    COALESCE(funnel_step, 0)
) AS here
FULL JOIN (
  SELECT
    'stage entries' AS measure,
    funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    stage_entry_num = 1 AND NOT funnel_step IS NULL
  GROUP BY
    funnel_step
  UNION ALL
  SELECT
    'sales calls' AS measure,
    funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_activities
  WHERE
    NOT due_timestamp IS NULL
  GROUP BY
    funnel_step
  UNION ALL
  SELECT
    measure,
    0 AS funnel_step,
    COUNT(*) AS total
  FROM (
    SELECT
      CASE
        WHEN activities.is_completed
        THEN 'completed activities'
        WHEN activities.due_timestamp < computed.as_of
        THEN 'overdue activities'
        ELSE 'planned activities'
      END AS measure
    FROM pipedrive_analytics.fct_deal_activities AS activities
    CROSS JOIN (
      SELECT
        MAX(as_of)::TIMESTAMP AS as_of
      FROM @this_model
    ) AS computed
    WHERE
      NOT activities.due_timestamp IS NULL
  ) AS due_activities
  GROUP BY
    measure
  UNION ALL
  SELECT
    'lost reasons' AS measure,
    0 AS funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_deals
  WHERE
    NOT lost_reason IS NULL
  HAVING
    COUNT(*) > 0
) AS facts
  ON here.measure = facts.measure AND here.funnel_step = facts.funnel_step
WHERE
  COALESCE(here.total, 0) <> COALESCE(facts.total, 0)
