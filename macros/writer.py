"""One writer at a time on PostgreSQL: what every plan and run does first and last (config.yaml).

Two runs at once would double rows in prod for good. So each plan and run, whoever starts it, holds
an advisory lock of the database while it works; `backup` and `restore` hold it, too. The lock
belongs to the session: PostgreSQL frees it when the process ends, however it ends. DuckDB lets one
process into its file anyway.
"""

from __future__ import annotations

import os
import re
import socket
import time

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.console import get_console
from sqlmesh.core.engine_adapter import EngineAdapter
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage

WRITER_LOCK = 7_331_206  # any number: which advisory lock of a database is the writer's


def holder_of_lock(adapter: EngineAdapter) -> tuple[int, str] | None:
    """Return the process of the session that holds the writer's lock, and what it says it is."""
    return adapter.fetchone(
        "SELECT activity.pid, CONCAT(COALESCE(NULLIF(activity.application_name, ''), 'unnamed'), "
        "' (role ', activity.usename, ', backend ', activity.pid, ')') "
        "FROM pg_locks AS lock INNER JOIN pg_stat_activity AS activity USING (pid) "
        f"WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objid = {WRITER_LOCK} "
        "AND lock.database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())"
    )


def as_plain_text(name: str) -> str:
    """Return a name as it is safe in a statement: anybody who connects can choose a name."""
    return re.sub(r"[^A-Za-z0-9_@:.,() -]", "?", name)


def take_lock(adapter: EngineAdapter, minutes: float, name: str) -> str | None:
    """Wait until no other plan or run writes to this database, then keep others out.

    Args:
        adapter: the connection whose session takes the lock.
        minutes: how long to wait.
        name: of the work, for those who wait for it: the session gets it, with time and process.

    Returns:
        None, or a sentence that says who is still at work after so many minutes.

    """
    (own,) = adapter.fetchone("SELECT PG_BACKEND_PID()")
    give_up, said = time.monotonic() + 60 * minutes, None
    while True:
        holder = holder_of_lock(adapter)
        if holder and holder[0] == own:  # an earlier plan of this session has failed
            break
        if adapter.fetchone(f"SELECT PG_TRY_ADVISORY_LOCK({WRITER_LOCK})")[0]:
            break
        if holder and holder[1] != said:
            said = holder[1]
            get_console().log_status_update(f"Waiting for another plan or run: {said}.")
        if time.monotonic() > give_up:
            return (
                f"Another plan or run has not ended in {minutes:g} minutes: "
                f"{as_plain_text(said or 'unknown')}. "
                "Nothing was done. Try again when it has ended."
            )
        time.sleep(1)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    name = f"{name} since {since} UTC, {os.getpid()}@{socket.gethostname()}"
    name = as_plain_text(name)[:63]  # PostgreSQL takes no more
    adapter.execute(exp.Command(this="SET", expression=f"application_name = '{name}'"))
    return None


def free_lock(adapter: EngineAdapter) -> None:
    """Let the next plan or run write."""
    adapter.execute(exp.Command(this="RESET", expression="application_name"))
    adapter.fetchone(f"SELECT PG_ADVISORY_UNLOCK({WRITER_LOCK})")


@macro()
def one_writer(evaluator: MacroEvaluator) -> exp.Expression | None:
    """Wait until no other plan or run writes to this database, then keep others out.

    The name of the session says for which environment it works, since when and from where.

    Returns:
        A statement that fails and says who it is, if another one is still at work after
        `writer_wait_minutes`: SQLMesh would print the code of a macro that fails.

    """
    adapter = evaluator.engine_adapter
    if evaluator.runtime_stage != RuntimeStage.BEFORE_ALL.value or adapter.dialect != "postgres":
        return None
    minutes = float(evaluator.var("writer_wait_minutes"))
    if why := take_lock(adapter, minutes, str(evaluator.this_env)):
        return exp.Command(this="DO", expression=f"$$BEGIN RAISE EXCEPTION '{why}'; END$$")
    return None


@macro()
def writer_is_done(evaluator: MacroEvaluator) -> None:
    """Let the next plan or run write."""
    adapter = evaluator.engine_adapter
    if evaluator.runtime_stage == RuntimeStage.AFTER_ALL.value and adapter.dialect == "postgres":
        free_lock(adapter)
