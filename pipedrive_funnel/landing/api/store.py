"""The mirror in the database: what was read is written at once, and what it is for is noted.

Each answer of the API is one transaction: its rows, what it says of the reading, and the tokens it
has cost. So a landing can end anywhere, and the next one goes on there.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipedrive_funnel.landing.api.meter import Meter, today
from pipedrive_funnel.landing.api.tables import (
    CHANGELOG,
    ENDPOINTS,
    KEYS,
    MIRROR,
    SNAPSHOTS,
    SQL_TYPES,
    STATE,
    TABLES,
    Converted,
    Endpoint,
    Reject,
    Row,
    plain,
)

if t.TYPE_CHECKING:
    from pipedrive_funnel.warehouse import Database

_SEEN = {"seen_at": "timestamp?"}  # when a list last had the row; nothing but reconciling reads it
_NOTES = {
    "account": {"host": "text"},
    # How far the reading of a list is, by its name in ENDPOINTS; `changelogs` is that of all logs
    "lists": {
        "name": "text",
        "began_at": "timestamp?",  # of the latest reading of the whole list
        "ended_at": "timestamp?",  # of the same; empty while it has not come to the end
        "whole_at": "timestamp?",  # the end of the latest reading that came to the end
        "since": "timestamp?",  # rows updated before were read
    },
    # A row for each deal whose change log was asked for, with the deal as it was listed then
    "logs": {
        **{"deal_id": "bigint", "asked_at": "timestamp", "read_at": "timestamp?"},
        **{"update_time": "timestamp?"},
        **{name: plain(TABLES["deals"][name]) + "?" for name in STATE},
        "is_settled": "bool",  # whether no change can have come to the log later
        "is_sweep": "bool",
        "refusal": "bigint?",  # the status of the answer, where it was not the log
    },
    "rejects": {name: "text?" for name in Reject._fields} | {"is_value": "bool?"} | _SEEN,
    "tokens": {"day": "text", "spent": "bigint", "most_left": "bigint"},
}
_OF_DLT = ("_dlt_version", "_dlt_loads", "_dlt_pipeline_state")  # beside an older mirror
_REMEMBERED = timedelta(days=30)  # how long what a company had left tells what it has a day


@dataclass(frozen=True)
class Reading:
    """How far the reading of a list is; see `lists` above."""

    name: str
    began_at: datetime | None = None
    ended_at: datetime | None = None
    whole_at: datetime | None = None
    since: datetime | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a reading of the whole list has begun and not come to the end."""
        return self.began_at is not None and self.ended_at is None

    def is_due(self, since: datetime) -> bool:
        """Whether the whole list was not begun since a time, or has not come to the end."""
        return self.began_at is None or self.is_under_way or self.began_at < since


class Listed(t.NamedTuple):
    """A deal as it was listed."""

    id: int
    pipeline_id: int
    add_time: datetime
    update_time: datetime | None
    state: tuple[t.Any, ...]


def listed_deal(row: Row) -> Listed:
    """Return a deal of the API, in the columns of the mirror, as the mirror gives it."""

    def value(name: str) -> t.Any:
        is_time = TABLES["deals"][name].startswith("timestamp") and row[name] is not None
        return datetime.fromisoformat(row[name]).replace(tzinfo=None) if is_time else row[name]

    names = ("id", "pipeline_id", "add_time", "update_time")
    return Listed(*map(value, names), tuple(map(value, STATE)))


class Log(t.NamedTuple):
    """What is known of a deal's change log."""

    asked_at: datetime
    read_at: datetime | None
    update_time: datetime | None
    state: tuple[t.Any, ...]
    is_settled: bool
    is_sweep: bool
    refusal: int | None


class LogAnswer(t.NamedTuple):
    """The answer to the request for a deal's change log."""

    deal: Listed
    asked_at: datetime
    is_settled: bool
    is_sweep: bool
    refusal: int | None
    rows: list[Row]
    rejects: list[Reject]


class Store:
    """The tables of the mirror, and the notes beside them."""

    def __init__(self, database: Database) -> None:
        """Touch nothing yet."""
        self._database, self._adapter = database, database.adapter
        self._execute = database.adapter.execute

    @property
    def exists(self) -> bool:
        """Whether there is a mirror."""
        return self._adapter.table_exists(f"{MIRROR}.lists")

    def create(self) -> None:
        """Create what is missing. A list whose table gets a new column is read again as a whole."""
        self._adapter.create_schema(MIRROR)
        with self._database.transaction():
            adopted = self._put_older_tables_aside()
            for name, columns in {**TABLES, **_NOTES}.items():
                columns = columns | (_SEEN if name in TABLES else {})
                self._create_table(name, columns)
            if adopted:
                self._adopt(adopted)

    def _create_table(self, name: str, columns: dict[str, str]) -> None:
        table = f"{MIRROR}.{name}"
        types = {column: SQL_TYPES[plain(kind)] for column, kind in columns.items()}
        if not self._adapter.table_exists(table):
            definitions = ", ".join(f"{column} {type_}" for column, type_ in types.items())
            self._execute(f"CREATE TABLE {table} ({definitions})")
            if self._adapter.dialect == "postgres" and name in KEYS | {"logs": "deal_id"}:
                key = (KEYS | {"logs": "deal_id"})[name]
                self._execute(f"CREATE INDEX ON {table} ({key})")
            return
        missing = [column for column in types if column not in self._adapter.columns(table)]
        for column in missing:
            self._execute(f"ALTER TABLE {table} ADD COLUMN {column} {types[column]}")
        if missing and name in TABLES:
            names = [list for list, endpoint in ENDPOINTS.items() if endpoint.table == name]
            self._execute(
                f"UPDATE {MIRROR}.lists SET began_at = NULL, since = NULL "
                f"WHERE name IN ({_values(names)})"
            )

    def _put_older_tables_aside(self) -> list[str]:
        """Rename the tables of a mirror that dlt has loaded, as landings once did."""
        older = [name for name in TABLES if "_dlt_id" in self._columns(name)]
        for name in older:
            self._execute(f"ALTER TABLE {MIRROR}.{name} RENAME TO {name}_older")
        return older

    def _adopt(self, older: list[str]) -> None:
        """Take over what an older mirror has: its change logs are paid for.

        There, a row without a field stands for a log that was read, and holds the deal's time of
        update; none if the log may have lacked something. The lists are read again, for their new
        columns.
        """
        for name in older:
            known = self._columns(f"{name}_older")
            columns = ", ".join(column for column in TABLES[name] if column in known)
            of_changes = " WHERE field_key IS NOT NULL AND change_time IS NOT NULL"
            self._execute(
                f"INSERT INTO {MIRROR}.{name} ({columns}) SELECT {columns} "
                f"FROM {MIRROR}.{name}_older{of_changes if name == 'changelogs' else ''}"
            )
        self._execute(
            f"INSERT INTO {MIRROR}.logs "
            "(deal_id, asked_at, read_at, update_time, stage_id, owner_id, is_settled, is_sweep) "
            "SELECT deals.id, deals.update_time, deals.update_time, deals.update_time, "
            "deals.stage_id, deals.owner_id, logs.update_time IS NOT NULL, FALSE "
            f"FROM {MIRROR}.changelogs_older AS logs "
            f"JOIN {MIRROR}.deals AS deals ON deals.id = logs.deal_id "
            "WHERE logs.field_key IS NULL "
            "AND COALESCE(logs.update_time, deals.update_time) = deals.update_time"
        )
        for name in (*(f"{name}_older" for name in older), *_OF_DLT):
            self._execute(f"DROP TABLE IF EXISTS {MIRROR}.{name}")
        self._execute(f"DROP SCHEMA IF EXISTS {MIRROR}_staging CASCADE")

    def _columns(self, name: str) -> t.Container[str]:
        table = f"{MIRROR}.{name}"
        return self._adapter.columns(table) if self._adapter.table_exists(table) else ()

    # --- the account ------------------------------------------------------------------------------

    @property
    def host(self) -> str | None:
        """The host of the account that is mirrored; None if there is no mirror."""
        if not self._adapter.table_exists(f"{MIRROR}.account"):
            return None
        row = self._adapter.fetchone(f"SELECT host FROM {MIRROR}.account")
        return row and row[0]

    def note_host(self, host: str) -> None:
        """Note which account is mirrored."""
        if self.host is None:
            self._insert("account", ["host"], [{"host": host}])

    def drop(self) -> None:
        """Drop the mirror."""
        with self._database.transaction():
            self._execute(f"DROP SCHEMA IF EXISTS {MIRROR} CASCADE")

    # --- tokens -----------------------------------------------------------------------------------

    def tokens(self) -> tuple[int, int]:
        """Return the tokens spent today, and the most that the company had left lately."""
        if not self.exists:
            return 0, 0
        return self._adapter.fetchone(
            f"SELECT COALESCE(MAX(CASE WHEN day = '{today()}' THEN spent END), 0), "
            "COALESCE(MAX(most_left), 0) "
            f"FROM {MIRROR}.tokens WHERE day >= '{today() - _REMEMBERED}'"
        )

    def note_tokens(self, meter: Meter) -> None:
        """Note what was spent since the last time."""
        if not self.exists:
            return
        day, spent = today(), meter.take_unsaved()
        table = f"{MIRROR}.tokens"
        if self._adapter.fetchone(f"SELECT 1 FROM {table} WHERE day = '{day}'"):
            self._execute(
                f"UPDATE {table} SET spent = spent + {spent}, "
                f"most_left = GREATEST(most_left, {meter.most_left}) WHERE day = '{day}'"
            )
        else:
            row = {"day": str(day), "spent": spent, "most_left": meter.most_left}
            self._insert("tokens", [*row], [row])

    # --- lists ------------------------------------------------------------------------------------

    def reading(self, name: str) -> Reading:
        """Return how far the reading of a list is."""
        row = self._adapter.fetchone(
            f"SELECT {', '.join(_NOTES['lists'])} FROM {MIRROR}.lists WHERE name = '{name}'"
        )
        return Reading(*row) if row else Reading(name)

    def note(self, reading: Reading) -> None:
        """Note how far the reading of a list is."""
        with self._database.transaction():
            self.note_reading(reading)

    def note_reading(self, reading: Reading) -> None:
        """Do the same in the open transaction."""
        self._execute(f"DELETE FROM {MIRROR}.lists WHERE name = '{reading.name}'")
        self._insert("lists", [*_NOTES["lists"]], [vars(reading)])

    @property
    def is_whole(self) -> bool:
        """Whether each list has been read to the end, at least once."""
        (number,) = self._adapter.fetchone(
            f"SELECT COUNT(*) FROM {MIRROR}.lists "
            f"WHERE whole_at IS NOT NULL AND name IN ({_values(ENDPOINTS)})"
        )
        return number == len(ENDPOINTS)

    def write_page(
        self,
        endpoint: Endpoint,
        converted: Converted,
        reading: Reading,
        at: datetime,
        meter: Meter,
        *,
        forget_before: datetime | None = None,
    ) -> None:
        """Write what an answer has brought, in place of what was known of the same rows.

        Args:
            endpoint: the list.
            converted: the rows; all of them, of a list that is not incremental. What the mirror
                has of rows that are rejected stays.
            reading: how far the list is read with these.
            at: when it was asked for.
            meter: what it has cost.
            forget_before: rows of the table that were not listed since are gone.

        """
        table = endpoint.table
        rows, rejects, odd_values = converted
        with self._database.transaction():
            if not endpoint.is_incremental:
                self._delete_rejects(table)
            if table in SNAPSHOTS:
                self._execute(f"DELETE FROM {MIRROR}.{table}")
            self._delete(table, KEYS.get(table, "id"), rows)
            self._delete_rejects(table, [*rows, *rejects])
            self._insert(
                table,
                [*TABLES[table], *_SEEN],
                [row | {"seen_at": at} for row in rows.values()],
            )
            self._insert_rejects([*rejects.values(), *odd_values], at)
            if forget_before:
                unseen = f"COALESCE(seen_at, '-infinity') < {_literal(forget_before)}"
                self._execute(f"DELETE FROM {MIRROR}.{table} WHERE {unseen}")
                self._execute(
                    f"DELETE FROM {MIRROR}.rejects WHERE mirror_table = '{table}' AND {unseen}"
                )
            self.note_reading(reading)
            self.note_tokens(meter)

    # --- logs -------------------------------------------------------------------------------------

    def deals(self) -> list[Listed]:
        """Return the deals of the mirror."""
        rows = self._adapter.fetchall(
            f"SELECT id, pipeline_id, add_time, update_time, {', '.join(STATE)} FROM {MIRROR}.deals"
        )
        return [Listed(*row[:4], tuple(row[4:])) for row in rows]

    def logs(self) -> dict[int, Log]:
        """Return what is known of the change logs, by deal."""
        rows = self._adapter.fetchall(
            "SELECT deal_id, is_settled, is_sweep, refusal, asked_at, read_at, update_time, "
            f"{', '.join(STATE)} FROM {MIRROR}.logs"
        )
        return {row[0]: Log(*row[4:7], tuple(row[7:]), *row[1:4]) for row in rows}

    @property
    def last_log_at(self) -> datetime | None:
        """When the last change log was read; None if none ever was."""
        (at,) = self._adapter.fetchone(f"SELECT MAX(read_at) FROM {MIRROR}.logs")
        return at

    def write_logs(self, answers: Sequence[LogAnswer], meter: Meter) -> None:
        """Write the change logs of deals in place of what was known of them.

        A refused log leaves what was read of it before.
        """
        if not answers:
            return
        with self._database.transaction():
            read = [answer for answer in answers if answer.refusal is None]
            deals = [answer.deal.id for answer in read]
            self._delete("changelogs", "deal_id", deals)
            self._delete_rejects(CHANGELOG.table, deals)
            columns = [*TABLES["changelogs"], *_SEEN]
            rows = [row | {"seen_at": answer.asked_at} for answer in read for row in answer.rows]
            self._insert("changelogs", columns, rows)
            for answer in read:
                self._insert_rejects(answer.rejects, answer.asked_at)
            before = self._read_before([a.deal.id for a in answers if a.refusal is not None])
            self._delete("logs", "deal_id", [answer.deal.id for answer in answers])
            self._insert(
                "logs", [*_NOTES["logs"]], [_log_row(answer, before) for answer in answers]
            )
            self.note_tokens(meter)

    def _read_before(self, deals: list[int]) -> dict[int, Row]:
        """Return what is known of logs that are refused now, and were read before."""
        if not deals:
            return {}
        columns = ["deal_id", "read_at", *STATE]
        rows = self._adapter.fetchall(
            f"SELECT {', '.join(columns)} FROM {MIRROR}.logs "
            f"WHERE read_at IS NOT NULL AND deal_id IN ({_values(deals)})"
        )
        return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}

    # --- rows -------------------------------------------------------------------------------------

    def _delete(self, table: str, key: str, keys: Iterable[t.Any]) -> None:
        if values := _values(keys):
            self._execute(f"DELETE FROM {MIRROR}.{table} WHERE {key} IN ({values})")

    def _delete_rejects(self, table: str, keys: Iterable[t.Any] | None = None) -> None:
        of_table = f"DELETE FROM {MIRROR}.rejects WHERE mirror_table = '{table}'"
        if keys is None:
            self._execute(of_table)
        elif values := _values(map(str, keys)):
            self._execute(f"{of_table} AND row_key IN ({values})")

    def _insert_rejects(self, rejects: Iterable[Reject], at: datetime) -> None:
        rows = [reject._asdict() | {"seen_at": at} for reject in rejects]
        self._insert("rejects", [*Reject._fields, *_SEEN], rows)

    def _insert(self, table: str, columns: Iterable[str], rows: Iterable[Row]) -> None:
        columns = [*columns]
        values = ", ".join(f"({_values(row[column] for column in columns)})" for row in rows)
        if values:
            self._execute(f"INSERT INTO {MIRROR}.{table} ({', '.join(columns)}) VALUES {values}")


def _log_row(answer: LogAnswer, before: dict[int, Row]) -> Row:
    """Return the row of `logs` for an answer."""
    deal = answer.deal
    return {
        "deal_id": deal.id,
        "asked_at": answer.asked_at,
        "read_at": answer.asked_at if answer.refusal is None else None,
        "update_time": deal.update_time,
        **dict(zip(STATE, deal.state, strict=True)),
        "is_settled": answer.is_settled,
        "is_sweep": answer.is_sweep,
        "refusal": answer.refusal,
        **before.get(deal.id, {}),
    }


def _values(values: Iterable[t.Any]) -> str:
    return ", ".join(map(_literal, values))


def _literal(value: t.Any) -> str:
    """Return a value as an SQL literal, which both databases cast to the type of its column."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).upper()
    text = str(value).replace("\0", "").replace("'", "''")
    return f"'{text}'"
