"""Pipedrive's API, mirrored in the schema `pipedrive_api`.

mirror     the account, kept in the database: where the rest of the project comes in
lists      the lists of the API, read through dlt's REST source
client     how the API is reached, and what goes wrong on the way
tables     what is kept of it
pipelines  the chosen pipeline, and a first version of the funnel's steps
mapping    the raw tables of the contract, made of the mirror by the queries in queries/
"""
