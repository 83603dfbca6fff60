"""Other readers of dbt's artifacts take them: dbt's own classes and schemas, and its own page."""

from __future__ import annotations

import json
import shutil
import threading
import typing as t
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from conftest import Tab
from dbt.artifacts.schemas.catalog import CatalogArtifact
from dbt.artifacts.schemas.manifest import WritableManifest
from dbt.artifacts.schemas.run import RunResultsArtifact

REPORT = "model.pipedrive_funnel.rep_sales_funnel_monthly"


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("manifest", WritableManifest),
        ("catalog", CatalogArtifact),
        ("run_results", RunResultsArtifact),
    ],
)
def test_an_artifact_fits_the_published_schema(artifacts: Path, name: str, schema: t.Any) -> None:
    file = artifacts / f"{name}.json"
    schema.read_and_check_versions(str(file))
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    errors = validator.iter_errors(json.loads(file.read_text()))
    assert [(list(error.path)[:3], error.message[:300]) for error in errors] == []


class Quiet(SimpleHTTPRequestHandler):
    """A server that does not log."""

    def log_message(self, *_: t.Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def dbt_page(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """Serve dbt's own page beside the artifacts, as `dbt docs serve` does."""
    directory = tmp_path_factory.mktemp("dbt")
    shutil.copytree(artifacts, directory, dirs_exist_ok=True)
    page = files("dbt.task.docs") / "index.html"
    (directory / "index.html").write_bytes(page.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_dbts_own_page_shows_a_model(tab: Tab, dbt_page: str, manifest: dict[str, t.Any]) -> None:
    tab.open(f"{dbt_page}#!/model/{REPORT}")
    tab.page.get_by_text("Number of distinct deals").first.wait_for()
    text = tab.page.inner_text("body")
    node = manifest["nodes"][REPORT]
    assert node["description"] in text
    assert all(column["description"] in text for column in node["columns"].values())
    assert "BIGINT" in text.upper() and "analytics" in text
    assert "COUNT(*) AS" in text
    for parent in ("fct_deal_stage_history", "fct_activities", "rep_sales_funnel_trends"):
        assert parent in text  # depends on, and is read by
    # Its page itself asks for icons that are not there
    assert [error for error in tab.errors if "404" not in error] == []


def test_dbts_own_page_draws_the_lineage(tab: Tab, dbt_page: str) -> None:
    tab.open(f"{dbt_page}#!/model/{REPORT}")
    tab.page.get_by_title("View Lineage Graph").click()
    tab.page.wait_for_timeout(2000)
    drawn = tab.page.evaluate(
        """[...document.querySelectorAll('*')].filter(element => element._cyreg)
            .flatMap(element => element._cyreg.cy.nodes(':visible').map(node => node.id()))"""
    )
    models = {id_.rpartition(".")[2] for id_ in drawn if id_.startswith("model.")}
    assert models >= {"fct_deal_stage_history", "fct_activities", "rep_sales_funnel_trends"}
