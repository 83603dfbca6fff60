"""Pipedrive's API, mirrored in the schema `pipedrive_api`.

mirror   the account, kept in the database through dlt's REST source
client   how the API is reached, and what goes wrong on the way
tables   what is kept of it
mapping  the raw tables of the contract, made of the mirror
"""
