"""Pipedrive sales funnel: the Python side of the SQLMesh project."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # where config.yaml is
