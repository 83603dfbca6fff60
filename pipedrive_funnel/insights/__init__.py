"""What the marts say, as a page with plots: docs/insights.md.

command  what is typed: `python -m pipedrive_funnel insights`
queries  the questions to the marts, and their answers
page     the answers in words and tables
plots    the answers as pictures
text     numbers, and what Markdown needs

docs/insights.md is written by `make insights`.
"""
