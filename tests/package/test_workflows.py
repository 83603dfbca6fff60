"""What GitHub runs: only targets of the Makefile, only pinned actions, and secrets where needed."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t
from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from pipedrive_funnel.page import SETTINGS
from tests.support.warehouse import PROJECT

FILES = {file.stem: file for file in (PROJECT / ".github" / "workflows").glob("*.y*ml")}
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
MAKE = re.compile(r'make ([a-z-]+)((?: [A-Z]+=[\w"$]+)*)')
TRIVIAL = {  # what a job may run beside make
    'echo "may_use=$MAY_USE" >> "$GITHUB_OUTPUT"',
    "git -C head worktree add --detach ../base HEAD^1",
}
OURS = ("promote", "refresh")  # they write to prod
Workflow = dict[str, t.Any]


def parsed(name: str) -> Workflow:
    """Return a workflow; YAML 1.2, in which `on` is a word."""
    return t.cast(Workflow, YAML(typ="safe", pure=True).load(FILES[name]))


def steps(workflow: Workflow) -> list[Workflow]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def texts(node: t.Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield all keys and values of a workflow, with the keys that lead to them."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path, key
            yield from texts(value, (*path, key))
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, (*path, "[]"))
    else:
        yield path, str(node)


def settings(step: Workflow) -> dict[str, str]:
    """Return what a step gets from the repository."""
    variables = step.get("env", {}).items()
    return {name: value for name, value in variables if re.search(r"\b(vars|secrets)\.", value)}


@pytest.fixture(params=sorted(FILES))
def workflow(request: pytest.FixtureRequest) -> Workflow:
    """Run the test on each workflow."""
    return parsed(request.param)


def test_what_starts_them() -> None:
    assert {name: parsed(name)["on"] for name in FILES} == {
        "pull_request": "pull_request",
        "promote": {"push": {"branches": ["main"]}},
        "refresh": {"schedule": [{"cron": "15 6 * * *"}], "workflow_dispatch": None},
    }


def test_actions_are_pinned_to_a_commit() -> None:
    used = [
        line.strip().removeprefix("- ")
        for file in FILES.values()
        for line in file.read_text().splitlines()
        if "uses:" in line
    ]
    assert [line for line in used if not PINNED.fullmatch(line)] == []
    assert len({line.split("@")[0] for line in used}) == len(set(used)) == 2  # one version of each


def test_they_may_only_read(workflow: Workflow) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    checkouts = [step for step in steps(workflow) if "/checkout@" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_jobs_end_and_hide_no_failure(workflow: Workflow) -> None:
    assert all(0 < job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    words = {text for _, text in texts(workflow)}
    assert not words & {"continue-on-error", "pull_request_target", "workflow_run"}


def test_jobs_call_make(workflow: Workflow) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for job in workflow["jobs"].values():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        calls = [MAKE.fullmatch(run) for run in runs if run not in TRIVIAL]
        assert calls and all(calls), runs
        assert {call[1] for call in calls if call} <= set(targets)


def test_only_steps_that_need_secrets_have_them(workflow: Workflow) -> None:
    for path, text in texts(workflow):
        if "secrets" in text:
            assert (path[0], *path[2:-1]) == ("jobs", "steps", "[]", "env"), (path, text)
    for step in steps(workflow):
        for name, value in settings(step).items():
            if step["run"] in TRIVIAL:  # it learns whether there is a secret
                assert re.fullmatch(r"\$\{\{ vars\.\w+ != '' && secrets\.\w+ != '' \}\}", value)
            else:
                source = "secrets" if re.search("(PASSWORD|_TOKEN)$", name) else "vars"
                assert value == f"${{{{ {source}.{name} }}}}"


def test_settings_are_those_of_the_env_file() -> None:
    """What a developer writes into .env, GitHub knows by the same name."""
    example = (PROJECT / ".env.example").read_text()
    known = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    database = {name for name in known if re.fullmatch("POSTGRES_(?!ADMIN).*", name)}
    raw_schema = {"SQLMESH__VARIABLES__RAW_SCHEMA"}
    given = {
        step["run"]: set(settings(step))
        for name in FILES
        for step in steps(parsed(name))
        if settings(step) and step["run"] not in TRIVIAL
    }
    assert given == {
        'make pr GATEWAY=postgres MARKDOWN="$GITHUB_STEP_SUMMARY"': database | raw_schema,
        "make drop GATEWAY=postgres": database,
        "make prod GATEWAY=postgres": database | raw_schema,
        "make refresh GATEWAY=postgres": database
        | raw_schema
        | {name for name in known if name.startswith("PIPEDRIVE_") and name not in SETTINGS},
    }


@pytest.mark.parametrize("name", OURS)
def test_promotions_and_refreshes_wait_for_each_other(name: str) -> None:
    workflow = parsed(name)
    assert workflow["concurrency"] == {
        "group": "production",
        "cancel-in-progress": False,
        "queue": "max",
    }
    assert [job["environment"] for job in workflow["jobs"].values()] == ["production"]


def test_a_pull_request_runs_all_tests_and_the_plan() -> None:
    jobs = parsed("pull_request")["jobs"]
    assert list(jobs) == ["check", "test", "test-faults", "plan"]
    for target in ("check", "test", "test-faults"):
        assert not jobs[target].keys() & {"if", "needs", "strategy"}
        assert not any("if" in step for step in jobs[target]["steps"])
        assert jobs[target]["steps"][-1] == {"run": f"make {target}"}


# --- the Makefile ---------------------------------------------------------------------------------


def run_make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as a job does, without what the make that runs the tests has been told."""
    told = ("MAKE", "MFLAGS", "ENVIRONMENT")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=PROJECT,
        env=inherited | variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("target", ["pr", "drop"])
def test_throw_away_environments_have_names_of_their_own(target: str) -> None:
    for environment in ("prod", "dev", ""):
        done = run_make("--dry-run", target, f"ENVIRONMENT={environment}")
        assert done.returncode == 2
        assert "ENVIRONMENT must begin with pr_" in done.stderr
    done = run_make("--dry-run", target, ENVIRONMENT="pr_12")
    assert done.returncode == 0, done.stderr


def test_settings_that_are_empty_are_none(tmp_path) -> None:
    """GitHub gives an empty text for a variable that is not set."""
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        f"include {PROJECT}/Makefile\n"
        "told:\n\t@env | grep -E '^(POSTGRES|PIPEDRIVE|SQLMESH_)_' | sort\n"
    )
    done = run_make(
        f"--file={makefile}",
        "told",
        POSTGRES_HOST="db.example.com",
        POSTGRES_PORT="",
        POSTGRES_PASSWORD="$(c)",
        PIPEDRIVE_API_TOKEN="a$b 'd'",
        SQLMESH__VARIABLES__RAW_SCHEMA="",
        PIPEDRIVE_PIPELINE_ID="",
        PIPEDRIVE_EXPORT_DIR="",
    )
    assert done.stdout.splitlines() == [
        "PIPEDRIVE_API_TOKEN=a$b 'd'",
        "POSTGRES_HOST=db.example.com",
        "POSTGRES_PASSWORD=$(c)",
    ]
