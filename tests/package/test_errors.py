"""The end of a command that a database has failed: one sentence and an exit code."""

from __future__ import annotations

import typing as t

import duckdb
import psycopg2
import psycopg2.errors
import pytest
from sqlmesh.utils.errors import SQLMeshError

from pipedrive_funnel.errors import FAILED, exit_code, lost_connection, said_by_database

LOST = "The connection to PostgreSQL is lost: {}. Give the command again when the server answers."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg2.InterfaceError("connection already closed"), "connection already closed"),
        (
            psycopg2.OperationalError(
                "server closed the connection unexpectedly\n\tThis probably means the server "
                "terminated abnormally\n\tbefore or while processing the request.\n"
            ),
            "server closed the connection unexpectedly",
        ),
        (
            psycopg2.OperationalError(
                'connection to server at "db", port 5432 failed: Connection refused\n'
                "\tIs the server running on that host and accepting TCP/IP connections?\n"
            ),
            "Connection refused",
        ),
        (
            psycopg2.OperationalError(
                'connection to server on socket "/run/.s.PGSQL.5432" failed: FATAL:  '
                "the database system is shutting down\n"
            ),
            "the database system is shutting down",
        ),
        (psycopg2.OperationalError(""), "no reason was given"),
    ],
)
def test_a_connection_that_is_lost_is_said_to_be(
    error: psycopg2.Error, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where SQLMesh has wrapped it."""

    def command() -> t.NoReturn:
        raise SQLMeshError("Execution failed for node SnapshotId") from error

    assert exit_code(command) == FAILED
    assert capsys.readouterr().err == LOST.format(reason) + "\n"
    assert lost_connection(error) == LOST.format(reason)


@pytest.mark.parametrize(
    "error",
    [
        psycopg2.errors.SyntaxError("syntax error\nLINE 1: SELEC"),
        duckdb.IOException("syntax error\nLINE 1: SELEC"),
    ],
    ids=["postgres", "duckdb"],
)
def test_what_else_a_database_says_is_on_one_line(error: Exception) -> None:
    assert lost_connection(error) is None
    assert said_by_database(error) == "The database says: syntax error LINE 1: SELEC"


def test_other_errors_are_not_of_the_database() -> None:
    assert said_by_database(ValueError("no")) is None
