"""An export of Pipedrive in six CSV files.

judge   the rows of a file, and what is wrong with each; the other two ask it
check   is each file what the contract says: `python -m pipedrive_funnel check`, and the linter
reader  the rows that fit and those that do not, for landing
"""
