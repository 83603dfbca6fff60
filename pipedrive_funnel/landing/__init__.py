"""The step before the models: land an export or Pipedrive's API in the schema `pipedrive_raw`.

command       the commands: `python -m pipedrive_funnel land`
land          hands an export, or the mirror of the API, to publish
publish       writes their rows to the raw tables, all or nothing
api           Pipedrive's API, mirrored in the schema `pipedrive_api`
dlt_settings  the settings of dlt
scratch       a temporary directory

The CSV files of an export are read by pipedrive_funnel.export. docs/landing.md says how to use it.
"""
