"""The step before the models: land an export or Pipedrive's API in the schema `pipedrive_raw`.

    command     what is typed: `python -m pipedrive_funnel land`
    refresh     an environment, brought up to date with what was landed
    csv_export  an export in CSV files: rows that fit, and rows that are rejected
    api         Pipedrive's API, mirrored in the schema `pipedrive_api`; api_client reaches it,
                api_tables says what is kept of it, api_mapping makes the raw tables of that
    land        an export, or the mirror, on its way to publish
    publish     the rows of either, brought into the raw tables as a whole
    contract    which tables and columns these are: external_models.yaml
    database    the database behind a gateway of config.yaml, as SQLMesh and dlt reach it;
                dlt_settings says how dlt works
    scratch     room on disk
    errors      messages and exit codes

docs/landing.md says how to use it.
"""
