MODEL (
  name pipedrive_intermediate.int_touched_deals,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key deal_id
  ),
  tags (
    intermediate
  ),
  grain deal_id,
  audits (
    not_null(columns := (deal_id, loaded_at), condition := @was_touched(deal_id)),
    unique_values(columns := deal_id, condition := @was_touched(deal_id))
  ),
  description 'One row per deal that ever had a change or an activity: when it was last touched. A deal is touched when its log or its activities gain or lose a row, when its state changes (status, value, pipeline), or when a stage, an activity type or a lost reason of its gets another label. Answers which deals a run of the models below rebuilds. A deal stays here when all its rows were removed.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    loaded_at = 'When the deal was last touched, UTC: the arrival of the row that touched it, or its removal. The beginning of 1970 for a deal of the sample that has activities only, since these do not arrive'
  )
);

WITH touches AS (
  SELECT
    deal_id,
    loaded_at
  FROM pipedrive_staging.stg_deal_changes
  WHERE
    loaded_at > @processed_until()
  UNION ALL
  SELECT
    deal_id,
    COALESCE(loaded_at, '1970-01-01'::TIMESTAMP) AS loaded_at
  FROM pipedrive_staging.stg_activity
  WHERE
    loaded_at > @processed_until() OR @processed_until() < '1970-01-01'::TIMESTAMP
  UNION ALL
  /* Of the sample, all are touched by their changes: its deals do not arrive */
  SELECT
    deal_id,
    loaded_at
  FROM pipedrive_staging.stg_deals
  WHERE
    loaded_at > @processed_until()
  UNION ALL
  SELECT
    deal_id,
    loaded_at
  FROM pipedrive_staging.stg_removed_changes
  WHERE
    loaded_at > @processed_until()
  UNION ALL
  /* Labels; when everything is built, all deals are touched anyway */
  SELECT
    changes.deal_id,
    stages.loaded_at
  FROM pipedrive_staging.stg_stages AS stages
  JOIN pipedrive_staging.stg_deal_changes AS changes
    ON stages.stage_id::TEXT = changes.new_value
  WHERE
    changes.field_key = 'stage_id'
    AND stages.loaded_at > @processed_until()
    AND @processed_until() > '1970-01-01'::TIMESTAMP
  UNION ALL
  SELECT
    changes.deal_id,
    fields.loaded_at
  FROM pipedrive_staging.stg_fields AS fields
  JOIN pipedrive_staging.stg_deal_changes AS changes
    ON fields.field_key = changes.field_key
  WHERE
    fields.field_key = 'lost_reason'
    AND fields.loaded_at > @processed_until()
    AND @processed_until() > '1970-01-01'::TIMESTAMP
  UNION ALL
  SELECT
    activities.deal_id,
    types.loaded_at
  FROM pipedrive_staging.stg_activity_types AS types
  JOIN pipedrive_staging.stg_activity AS activities
    ON types.activity_type_key = activities.activity_type_key
  WHERE
    types.loaded_at > @processed_until()
    AND @processed_until() > '1970-01-01'::TIMESTAMP
)
SELECT
  deal_id::BIGINT AS deal_id,
  MAX(loaded_at)::TIMESTAMP AS loaded_at
FROM touches
WHERE
  loaded_at <= @last_arrival()
GROUP BY
  deal_id;

@postgres_index(deal_id);

@postgres_index(loaded_at);

@note_processed();

@postgres_analyze()
