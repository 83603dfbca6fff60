"""A person follows docs/landing.md from a token to the deals that were won, command by command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import typing as t
from collections import Counter
from pathlib import Path

import pytest

from tests.landing.conftest import Serve
from tests.support.api_landing import NO_BURST, TOKEN
from tests.support.pipedrive_account import SALES, random_account
from tests.support.warehouse import PROJECT, Warehouse

pytestmark = pytest.mark.again  # it plans dev and prod in full, by way of make

BIN = Path(sys.executable).parent
GUIDE = (PROJECT / "docs" / "landing.md").read_text(encoding="utf-8")
TITLE = "## From a token to a funnel in prod, and to what was won"


class Walk:
    """Somebody with a new copy of the project, an empty home directory and 80 columns."""

    def __init__(self, warehouse: Warehouse, home: Path, url: str) -> None:
        """Come with nothing but the address of the account."""
        self._path = warehouse.path
        warehouse.close()
        self._environment = {
            **{"HOME": str(home), "COLUMNS": "80", "TERM": "dumb", "LC_ALL": "C.UTF-8"},
            **{"PATH": f"{BIN}:{os.environ['PATH']}", "PIPEDRIVE_BURST": str(NO_BURST)},
            **{
                "PIPEDRIVE_API_URL": url,
                "SQLMESH__LINTER__ENABLED": "false",
            },  # a copy has no tests
            **warehouse.settings,
        }

    def type(self, commands: str) -> subprocess.CompletedProcess[str]:
        """Give commands to a shell; `make` finds its packages installed."""
        installed = (
            f'make() {{ command make --assume-old .venv/installed BIN={BIN} "$@"; }}\nset -e\n'
        )
        return subprocess.run(
            ["bash", "-c", installed + commands],
            cwd=self._path,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
        )


def typed_blocks() -> list[str]:
    """Return what the guide says to type, a text for each block."""
    chapter = GUIDE.split(f"{TITLE}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(block) for block in re.findall(r" *```sh\n(.*?) *```", chapter, re.S)]


def test_the_guide_leads_from_a_token_to_the_deals_that_were_won(
    serve: Serve, new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    account = random_account(7, 200)
    warehouse = new_warehouse("duckdb")
    walk = Walk(warehouse, tmp_path, serve(account).url)
    settings, dry_run, suggest, first, daily, report = typed_blocks()

    settings = settings.replace("PIPEDRIVE_API_TOKEN=...", f"PIPEDRIVE_API_TOKEN={TOKEN}")
    assert walk.type(settings).returncode == 0
    tried = walk.type(dry_run)
    assert tried.returncode == 0, tried.stderr
    assert "A landing costs about" in tried.stdout

    asked = walk.type(suggest)
    assert asked.returncode == 3 and "PIPEDRIVE_PIPELINE_ID to one of 1 (Lead" in asked.stderr
    suggested = walk.type(f"echo PIPEDRIVE_PIPELINE_ID={SALES} >> .env\n{suggest}")
    assert suggested.returncode == 0, suggested.stderr
    (hint,) = re.findall(r"^  (echo .*STAGES_OUTSIDE_FUNNEL.*)$", suggested.stdout, re.M)

    for step in (hint, first, daily):
        done = walk.type(step)
        assert done.returncode == 0, done.stdout + done.stderr
        assert max(map(len, done.stdout.splitlines()), default=0) <= 80 or ".env" in step
    assert "prod shows what was landed." in done.stdout

    shown = walk.type(report)
    assert shown.returncode == 0, shown.stderr
    won = {
        deal: row
        for deal, row in account.deals.items()
        if deal in account.deals_of(SALES) and row["status"] == "won" and not row["is_deleted"]
    }
    by_month = Counter(row["won_time"][:7] for row in won.values())
    assert len(won) > 5
    outcomes, deals = re.split(r"^ +deal_id +title", shown.stdout, flags=re.M)
    latest = max(won, key=lambda deal: (won[deal]["won_time"], -deal))
    assert deals.splitlines()[1].split()[1] == str(latest)
    with warehouse._environment():
        found = warehouse.fetch(
            "SELECT month, SUM(won_deals_count) AS won FROM "
            "pipedrive_analytics.rep_deal_outcomes_monthly "
            "WHERE counted_by = 'closing' GROUP BY month"
        )
    counted = {f"{row.month:%Y-%m}": int(row.won) for row in found.itertuples() if row.won}
    assert counted == by_month
    assert all(f"{month}-01" in outcomes for month in sorted(counted)[-2:])
