/* The log of changes, with each deal's creation, first stage and first owner, which Pipedrive's log
   lacks.

   The first value of a field is the old value of its first change or, without a change, its value
   when the log was read. If that old value is NULL, the field was empty at first, and the change itself brings the
   first value. The first change is the earliest one. Of several in the same second, it is the one
   whose old value no other of them set, or else (A to B to A) the one delivered last, because
   Pipedrive delivers the newest first. A change to no stage or to no owner is left out: the deal
   keeps the stage or owner that it has in the log.

   UNION removes duplicates: a change that the log holds twice is one row. */
WITH listed AS (
  SELECT
    logs.deal_id,
    deals.add_time,
    CAST(logs.stage_id AS TEXT) AS stage_id,
    CAST(logs.owner_id AS TEXT) AS user_id
  FROM pipedrive_api.logs AS logs
  JOIN pipedrive_api.deals AS deals
    ON deals.id = logs.deal_id
), chosen AS (
  SELECT
    deal_id,
    add_time,
    stage_id,
    user_id
  FROM listed
  WHERE
    {is_chosen} AND deal_id IN ({deals_with_whole_log})
), changes AS (
  SELECT
    deal_id,
    field_key,
    old_value,
    new_value,
    change_time,
    place
  FROM pipedrive_api.changelogs
  WHERE
    field_key IN {logged_fields} AND deal_id IN (SELECT deal_id FROM chosen)
), ranked AS (
  SELECT
    deal_id,
    field_key,
    old_value,
    new_value,
    place,
    RANK() OVER (PARTITION BY deal_id, field_key ORDER BY change_time) AS time_rank
  FROM changes
), earliest AS (
  SELECT
    deal_id,
    field_key,
    old_value,
    new_value,
    place
  FROM ranked
  WHERE
    time_rank = 1
), numbered AS (
  SELECT
    earliest.deal_id,
    earliest.field_key,
    earliest.old_value,
    ROW_NUMBER() OVER (
      PARTITION BY earliest.deal_id, earliest.field_key
      ORDER BY CASE WHEN other.deal_id IS NULL THEN 0 ELSE 1 END, earliest.place DESC
    ) AS change_num
  FROM earliest
  LEFT JOIN earliest AS other
    ON other.deal_id = earliest.deal_id
    AND other.field_key = earliest.field_key
    AND other.new_value = earliest.old_value
), first_values AS (
  SELECT
    chosen.deal_id,
    chosen.add_time,
    fields.field_key,
    CASE
      WHEN numbered.deal_id IS NOT NULL THEN numbered.old_value
      WHEN fields.field_key = 'stage_id' THEN chosen.stage_id
      ELSE chosen.user_id
    END AS first_value
  FROM chosen
  CROSS JOIN (SELECT 'stage_id' AS field_key UNION ALL SELECT 'user_id' AS field_key) AS fields
  LEFT JOIN numbered
    ON numbered.deal_id = chosen.deal_id
    AND numbered.field_key = fields.field_key
    AND numbered.change_num = 1
)
SELECT
  deal_id,
  add_time AS change_time,
  'add_time' AS changed_field_key,
  TO_CHAR(add_time, 'YYYY-MM-DD') || 'T' || TO_CHAR(add_time, 'HH24:MI:SS') AS new_value
FROM chosen
UNION
SELECT
  deal_id,
  add_time AS change_time,
  field_key AS changed_field_key,
  first_value AS new_value
FROM first_values
WHERE
  COALESCE(first_value, '') ~ '^({id})$'
UNION
SELECT
  deal_id,
  change_time,
  field_key AS changed_field_key,
  new_value
FROM changes
WHERE
  field_key NOT IN {fields_with_ids} OR COALESCE(new_value, '') ~ '^({id})$'
