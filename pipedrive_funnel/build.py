"""Build an environment and show it, for `make dev`, `make prod` and `make refresh`."""

from __future__ import annotations

from contextlib import closing

from pipedrive_funnel import runs
from pipedrive_funnel.export.check import check_files
from pipedrive_funnel.show import say_funnel
from pipedrive_funnel.snapshot import renew_snapshot
from pipedrive_funnel.summary import say_summary
from pipedrive_funnel.terminal import funnel, make, say, say_next
from pipedrive_funnel.warehouse import Built, Database
from pipedrive_funnel.watch import PROD, Watch, watching


def build(environment: str, gateway: str | None = None) -> None:
    """Check the files, bring an environment up to date with models and data, and show it.

    Raises:
        FunnelError: a file has a defect, or see `Database.plan`.

    """
    with (
        watching(f"build {environment}", gateway, matters=environment == PROD) as watch,
        closing(watch.opened(Database(gateway))) as database,
    ):
        with watch.logged(runs.PROMOTION):
            # With landed data, seeds/ has its steps: do not compare them with the sample's stages
            check_files(database.project / "seeds", with_steps=not database.reads_raw_tables)
            built = database.plan(environment)
        say()
        say_funnel(database, environment)
        say()
        say_summary(database, built)
        say_next(next_steps(database, environment), at_length=built.has_changed)


def refresh(environment: str, gateway: str | None = None) -> None:
    """Process rows landed since an environment was computed, with the models that it has.

    There is nothing to do while the models read the sample.

    Raises:
        FunnelError: nothing has been landed, or see `Database.run`.

    """
    with (
        watching(f"refresh {environment}", gateway, matters=environment == PROD) as watch,
        closing(watch.opened(Database(gateway))) as database,
    ):
        database.ready_raw_tables()
        if not (database.reads_raw_tables and database.reads_landed(environment)):
            say(f"Nothing to do: {environment} does not read landed data.")
            return
        with watch.logged(runs.RUN):
            built = database.run(environment)
        finish_refresh(database, built, watch)


def finish_refresh(database: Database, built: Built, watch: Watch) -> None:
    """Say what an environment shows after a refresh, and what to type next."""
    watch.summarise(database, built)
    say(f"\n{built.environment} shows what was landed.")
    say_summary(database, built)
    renew_snapshot(database, built.environment)
    gateway = None if database.is_default else database.gateway
    say_next([(funnel(f"show {built.environment}", gateway), "print the funnel")])


def next_steps(database: Database, environment: str) -> list[tuple[str, str]]:
    """Return the commands and files to suggest after an environment was built or shown."""
    gateway = None if database.is_default else database.gateway
    steps = [
        (make("page", gateway), "show it in the browser, for everybody"),
        ("README.md", "environments, data quality, your own Pipedrive data"),
    ]
    if environment != "prod":
        steps.insert(0, (make("prod", gateway), f"promote {environment} to prod"))
    return steps
