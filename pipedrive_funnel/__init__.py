"""Pipedrive sales funnel: the Python side of the SQLMesh project."""
