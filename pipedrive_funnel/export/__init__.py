"""An export of Pipedrive in six CSV files.

judge   the rows of a file, and the defects of each; the other two use it
check   a file against the contract: `python -m pipedrive_funnel check`, and the linter
reader  the rows that fit and those that do not, for landing
"""
