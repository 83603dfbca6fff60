"""Pipedrive's API, mirrored in the schema `pipedrive_api`.

mirror     the account, kept in the database: the entry for the rest of the project
lists      the lists of the API, read through dlt's REST source
client     requests to the API, and their errors
tables     the tables of the mirror
pipelines  the chosen pipeline, and a first version of the funnel's steps
mapping    the raw tables of the contract, made from the mirror by the queries in queries/
"""
