"""Make one page, site/catalog.html, of the artifacts in site/artifacts/: `make catalog`.

docglow makes it, in a Python of its own (catalog/.venv). It is called past its command line, which
would ask for telemetry, and would guess the lineage of columns with a time limit. docglow shows
neither owner, rows, the last run, what an audit has found, nor unit tests: they are added to
the descriptions, which it takes as Markdown.
"""

from __future__ import annotations

import argparse
import html
import json
import logging
import os
import tempfile
import typing as t
from pathlib import Path

from docglow.artifacts.loader import load_artifacts
from docglow.generator.bundle import bundle_site
from docglow.generator.data import build_docglow_data
from docglow.generator.layers import parse_layer_config

HERE = Path(__file__).resolve().parent
SITE = HERE.parent / "site"
DATA = {"data": "of the page"}  # stands in the page for the data until they are put in
LAYERS = {  # the folders of models, from left to right, and their colours
    "source": ("raw", "#dcfce7"),
    "staging": ("staging", "#dbeafe"),
    "intermediate": ("intermediate", "#fef3c7"),
    "core": ("marts/core", "#fce7f3"),
    "reports": ("marts/reports", "#f3e8ff"),
    "quality": ("marts/quality*", "#e2e8f0"),
}

Json = dict[str, t.Any]


def render(artifacts: Path, page: Path) -> None:
    """Write the page.

    Args:
        artifacts: the directory of manifest.json, catalog.json, run_results.json and
            column_lineage.json.
        page: the file to write; the last one stays if that fails.

    Raises:
        FileNotFoundError: an artifact is missing.

    """
    names = ("manifest", "run_results", "column_lineage")
    manifest, results, lineage = (
        json.loads((artifacts / f"{name}.json").read_text(encoding="utf-8")) for name in names
    )
    data = build_docglow_data(
        load_artifacts(HERE, artifacts.resolve()), layer_config=_layers(), ai_enabled=False
    )
    data["column_lineage"] = lineage
    environment = manifest["metadata"]["env"]["SQLMESH_ENVIRONMENT"]
    written = _moment(manifest["metadata"]["generated_at"])
    title = f"Pipedrive sales funnel, {environment}, {written}"
    # The first page calls it the version of dbt, and there is none: its schema is what is shown
    data["metadata"] |= {"project_name": title, "dbt_version": "12 manifest"}
    ran = {result["unique_id"]: result for result in results["results"]}
    nodes = manifest["nodes"] | manifest["sources"]
    for kind in ("models", "seeds", "sources"):
        for id_, shown in data[kind].items():
            children = manifest["child_map"][id_]
            tests = [nodes[child] for child in children if child.startswith("test.")]
            units = [manifest["unit_tests"][child] for child in children if "unit_test." in child]
            _complete(shown, nodes[id_], tests, ran)
            shown["description"] = _description(shown, nodes[id_], tests, units, ran)
    with tempfile.TemporaryDirectory() as directory:
        head = (HERE / "head.html").read_text(encoding="utf-8")
        bundle_site(DATA, Path(directory), static=True, head_script=head)
        text = (Path(directory) / "index.html").read_text(encoding="utf-8")
    # A text of the project must not end the script that it stands in
    safe = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    for old, new in (
        (json.dumps(DATA, separators=(",", ":")), safe),
        ("<title>docglow</title>", f"<title>{html.escape(title)}</title>"),
        ('href="./favicon.svg"', 'href="data:,"'),
    ):
        if text.count(old) != 1:
            raise ValueError(f"docglow's page has no {old}: catalog/requirements.txt pins another")
        text = text.replace(old, new)
    partial = page.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, page)


def _layers() -> t.Any:
    """Return the project's layers, as docglow wants them."""
    layers = [
        {"name": name, "rank": rank, "color": colour}
        for rank, (name, (_, colour)) in enumerate(LAYERS.items())
    ]
    rules = [
        {"layer": name, "match": "folder", "pattern": f"models/{folder}"}
        for name, (folder, _) in LAYERS.items()
    ]
    return parse_layer_config({"layers": layers, "rules": rules})


def _complete(shown: Json, node: Json, tests: list[Json], ran: dict[str, Json]) -> None:
    """Add what docglow leaves out of a model: types, tests of several columns, what was found."""
    shown["referenced_by"] = [
        child for child in shown.get("referenced_by", ()) if "unit_test." not in child
    ]
    for column in shown["columns"]:
        if not column["data_type"]:  # of a model that has no table of its own
            column["data_type"] = node["columns"][column["name"]]["data_type"]
        column["tests"] = [
            {
                "test_name": test["name"],
                "test_type": test["test_metadata"]["name"],
                "status": ran[test["unique_id"]]["status"],
                "config": {},
            }
            for test in tests
            if column["name"] in test["config"]["meta"]["columns"]
        ]
    by_name = {}
    for test in tests:
        by_name.setdefault(test["name"], []).append(test)
    for result in shown.get("test_results", ()):
        test = by_name[result["test_name"]].pop(0)
        if rows := ran[test["unique_id"]]["failures"]:
            result["test_name"] += f": {_rows(rows)}"
        if test["config"]["severity"] == "WARN":
            result["test_type"] += " (warns)"


def _description(
    shown: Json, node: Json, tests: list[Json], units: list[Json], ran: dict[str, Json]
) -> str:
    """Return a model's description, and what else is known of it, as Markdown."""
    meta = node["meta"]
    facts = {
        "Owner": meta.get("owner"),
        "Kind": " ".join(filter(None, (meta.get("kind"), meta.get("cron")))),
        "Grain": meta.get("grain"),
    }
    if (rows := shown.get("catalog_stats", {}).get("row_count")) is not None:
        facts["Rows"] = f"{rows:,}"
    if run := ran.get(node["unique_id"]):
        facts["Last run"] = _moment(run["timing"][-1]["completed_at"])
    if tests:
        facts["Audited"] = _moment(ran[tests[0]["unique_id"]]["timing"][-1]["completed_at"])
    parts = [
        node["description"],
        " · ".join(f"**{name}** {value}" for name, value in facts.items() if value),
    ]
    found = [test for test in tests if ran[test["unique_id"]]["failures"]]
    if found:
        parts.append("| Audit | | Rows | A row |\n|---|---|---|---|")
        for test in found:
            rows = ran[test["unique_id"]]["failures"]
            verdict = "**blocks**" if test["config"]["severity"] == "ERROR" else "warns"
            columns = ", ".join(test["config"]["meta"]["columns"])
            name = test["test_metadata"]["name"] + (f" ({columns})" if columns else "")
            cells = (name, verdict, f"{rows:,}", test["description"])
            parts[-1] += "\n| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    if units:
        lines = [f"- `{unit['name']}` {unit['description']}" for unit in units]
        summary = f"<summary>Unit tests: {len(units)}</summary>"
        parts.append(f"<details>{summary}\n\n" + "\n".join(lines) + "\n\n</details>")
    return "\n\n".join(parts)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _moment(time: str) -> str:
    """Return a time as people read it, such as 2026-01-31 23:59 UTC."""
    return f"{time[:10]} {time[11:16]} UTC"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifacts", type=Path, nargs="?", default=SITE / "artifacts")
    parser.add_argument("page", type=Path, nargs="?", default=SITE / "catalog.html")
    arguments = parser.parse_args()
    logging.getLogger("docglow").setLevel(logging.ERROR)  # it would miss freshness of sources
    render(arguments.artifacts, arguments.page)
    size = arguments.page.stat().st_size / 1e6
    print(f"{os.path.relpath(arguments.page)} ({size:.1f} MB): open it in a browser.")
