"""The step before the models: land an export or Pipedrive's API in the schema `pipedrive_raw`.

command       what is typed: `python -m pipedrive_funnel land`
refresh       an environment, brought up to date with what was landed
land          an export, or the mirror of the API, on its way to publish
publish       the rows of either, brought into the raw tables as a whole
api           Pipedrive's API, mirrored in the schema `pipedrive_api`
dlt_settings  how dlt works
scratch       room on disk

The CSV files of an export are read by pipedrive_funnel.export. docs/landing.md says how to use it.
"""
