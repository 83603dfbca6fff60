SELECT
  id,
  name,
  email,
  modified
FROM pipedrive_api.users
