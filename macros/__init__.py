"""SQLMesh macros of the project."""

import warnings

# SQLMesh silences this warning around each read from PostgreSQL, but not across threads, so that a
# plan prints it by chance. SQLMesh imports this package in every command: silence it for good.
warnings.filterwarnings("ignore", message="pandas only supports SQLAlchemy connectable")
