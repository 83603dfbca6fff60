"""Write what an environment holds as dbt's artifacts, which catalog/render.py makes a page of."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import closing
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.catalog.artifacts import Json, artifacts_of
from pipedrive_funnel.catalog.reading import read
from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.show import NO_PROD, latest_environment
from pipedrive_funnel.terminal import say, say_command
from pipedrive_funnel.warehouse import Database

ARTIFACTS = PROJECT / "site" / "artifacts"


def write_catalog(
    environment: str | None = None, gateway: str | None = None, out: Path = ARTIFACTS
) -> None:
    """Run the audits of an environment, and write the artifacts into a directory.

    Nothing is written to the database, and a plan or run at work is not waited for.

    Args:
        environment: prod when None, or dev as long as there is no prod.
        gateway: of config.yaml; the default one when None.
        out: the directory, which is made if it is not there.

    Raises:
        FunnelError: there is no such environment, it cannot be read, or the files not be written.

    """
    with closing(Database(gateway)) as database:
        shown = environment or latest_environment(database)
        if environment is None and shown == "dev" and database.tables_of("dev"):
            say(NO_PROD)
        models = read(database, shown)
        catalog = database.adapter.get_current_catalog() or ""
        artifacts = artifacts_of(models, shown, database.engine, catalog)
    try:
        _write(out, artifacts)
    except OSError as error:
        raise FunnelError(f"The artifacts cannot be written: {error}") from error
    audits = [audit for one in models.values() for audit in one.audits]
    found = Counter(audit.blocks for audit in audits if audit.rows)
    say(
        f"{shown}: {len(models)} models, {len(audits)} audits, {found[False]} warn, "
        f"{found[True]} would block."
    )
    say_command(os.path.relpath(out), indent=0)


def _write(out: Path, artifacts: dict[str, Json]) -> None:
    """Write all artifacts, and only then put them in the place of the last ones."""
    out.mkdir(parents=True, exist_ok=True)
    for name, artifact in artifacts.items():
        text = json.dumps(artifact, ensure_ascii=False, indent=1)
        (out / f"{name}.partial").write_text(text + "\n", encoding="utf-8")
    for name in artifacts:
        os.replace(out / f"{name}.partial", out / name)
