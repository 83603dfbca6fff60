"""Conventions of the project as rules, which `sqlmesh lint` and every plan check."""
