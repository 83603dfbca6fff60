"""What the marts say, as a page with plots: docs/findings.md.

command  what is typed: `python -m pipedrive_funnel findings`
queries  the questions to the marts, and their answers
page     the answers in words and tables
plots    the answers as pictures
text     numbers, and what Markdown needs

docs/findings.md is written by `make findings`.
"""
