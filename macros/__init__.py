"""SQLMesh macros of the project."""
