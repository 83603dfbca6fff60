"""What an environment holds, as dbt's artifacts: site/artifacts/.

command    the command `python -m pipedrive_funnel catalog`
reading    the environment: its models, audits, unit tests and tables
artifacts  manifest.json, catalog.json and run_results.json, in dbt's published schema
lineage    which columns a column is made from: column_lineage.json

catalog/render.py makes one page of them, site/catalog.html, in a Python of its own.
"""
