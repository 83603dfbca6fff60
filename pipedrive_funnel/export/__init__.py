"""An export of Pipedrive in six CSV files.

check   is each file what the contract says: `python -m pipedrive_funnel check`, and the linter
reader  the rows that fit and those that do not, for landing
"""
