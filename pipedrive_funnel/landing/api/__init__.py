"""Pipedrive's API, mirrored in the schema `pipedrive_api`.

mirror     the account, kept in the database: the entry for the rest of the project
reading    lists page by page, change logs deal by deal
choice     which change logs to read, and in which order
store      the mirror in the database, and how far the reading is
client     requests to the API, and why they fail
meter      bursts, and tokens of a day
settings   the account, and the errors of reading it
tables     the tables of the mirror
pipelines  the chosen pipeline, and a first version of the funnel's steps
mapping    the raw tables of the contract, made from the mirror by the queries in queries/
"""
