"""The contents of the marts, as a page with plots: docs/insights.md.

command  the command `python -m pipedrive_funnel insights`
queries  the questions to the marts, and their answers
page     the answers in words and tables
plots    the answers as pictures
text     numbers and texts for Markdown

docs/insights.md is written by `make insights`.
"""
