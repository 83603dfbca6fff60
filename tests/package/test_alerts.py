"""Alerts of our commands: what arrives by Slack and mail, and that no alert can do harm."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipedrive_funnel import alerts, runs
from pipedrive_funnel.warehouse import Database
from tests.support.command import Done, edit_file, run_command
from tests.support.exports import NEW_DEAL, START, add_changes, edit, new_export, with_first
from tests.support.landed import LANDED
from tests.support.receivers import (
    HOOK_PATH,
    MailServer,
    Webhook,
    closed_port,
    make_certificate,
)
from tests.support.small_project import shrink
from tests.support.warehouse import PROJECT, Warehouse

NOWHERE = ("land", "csv", "/home/anna/nowhere")  # a landing that fails at once
PASSWORD = "very secret password"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


@pytest.fixture(scope="module")
def mail_server() -> Iterator[MailServer]:
    mail_server = MailServer()
    yield mail_server
    mail_server.close()


@pytest.fixture(autouse=True)
def good_servers(webhook: Webhook, mail_server: MailServer) -> Iterator[None]:
    """Leave the servers as they should be."""
    yield
    webhook.status, webhook.manner, mail_server.manner = 200, None, None
    webhook.taken()
    mail_server.mails.clear()


@pytest.fixture(scope="module")
def warehouse(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Give a small project on an empty DuckDB file, which reads landed data."""
    return shrink(new_warehouse("duckdb", core=True, **LANDED))


@dataclass
class Told:
    """How a command has ended, and what it has sent to Slack."""

    done: Done
    texts: list[str]

    @property
    def text(self) -> str:
        """The only message."""
        (text,) = self.texts
        return text


@pytest.fixture(scope="module")
def story(
    warehouse: Warehouse, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Told]:
    """Land and refresh prod on two days, until audits block."""
    export = new_export(tmp_path_factory.mktemp("export"), deals=20)
    story = {}

    def tell(name: str, *arguments: str | Path) -> None:
        done = run_command(warehouse, *arguments, **webhook.settings)
        story[name] = Told(done, webhook.taken())

    edit(export, "activity_types", with_first("name", "Odd"))
    tell("first", "land", "csv", export, "--refresh")
    tell("again", "refresh", "prod")
    add_changes(export, (NEW_DEAL, "no time", "stage_id", "1"), (NEW_DEAL, START, "stage_id", "1"))
    tell("news", "land", "csv", export, "--refresh")
    warehouse.execute("UPDATE pipedrive_ops.runs SET ended_at = ended_at - INTERVAL '24 hours'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "SECONDS", 0.5)
        webhook.manner = "silent"
        tell("next day", "refresh", "prod")
        webhook.manner = None
    warehouse.execute(
        "INSERT INTO pipedrive_raw.deal_changes "
        f"VALUES ({NEW_DEAL}, '{START}', 'stage_id', 'Anna', CURRENT_TIMESTAMP::TIMESTAMP)"
    )
    tell("blocked run", "refresh", "prod")
    tell("blocked refresh", "land", "csv", export, "--refresh")
    (model,) = (warehouse.path / "models").rglob("rep_data_quality.sql")
    undo = edit_file(model, "COUNT(*)", "COUNT(*) + 0")
    tell("blocked plan", "build", "prod")
    tell("blocked dev", "build", "dev")
    undo()
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = 'Anna'")
    return story


# --- summaries ------------------------------------------------------------------------------------


def test_a_summary_says_what_ran_and_what_prod_shows(story: dict[str, Told]) -> None:
    told = story["first"]
    assert told.done.code == 0, told.done.err
    assert told.done.err == ""
    lines = told.text.splitlines()
    assert lines[0] == "Pipedrive funnel: prod is up to date (land csv --refresh)"
    assert re.fullmatch(r"Built and audited: \d+ tables and views", lines[1])
    (landed,) = re.findall(r"^total +[\d,]+ +([\d,]+)", told.done.out, re.M)
    assert lines[2] == f"Rows landed: {landed}"
    assert re.search(r"^Database: .*pipedrive\.duckdb, gateway duckdb$", told.text, re.M)
    assert re.search(r"^Time: \d{4}-\d\d-\d\d \d\d:\d\d UTC, for \d+ s$", told.text, re.M)
    funnel = lines[lines.index("Deals in 2024-05:") + 1 :][:11]
    assert funnel[0] == "  1,000  Step 1: Lead Generation"
    assert funnel[2] == "  2,100  Step 2.1: Sales Call 1"
    assert funnel[10] == "      0  Step 9: Renewal/Expansion"  # no deals, and no row in the report


def test_the_first_summary_has_all_warnings(story: dict[str, Told]) -> None:
    assert story["first"].text.endswith(
        "\n\n1 check warns:\n      1  odd_types: Odd &amp; &lt;strange&gt;."
    )


def test_a_second_refresh_of_a_day_without_news_is_silent(story: dict[str, Told]) -> None:
    assert story["again"].done.code == 0
    assert story["again"].texts == []


def test_a_new_warning_is_said_at_once_and_alone(story: dict[str, Told]) -> None:
    warnings = story["news"].text.split("\n\n")[-1].splitlines()
    assert re.fullmatch(r"2 checks warn, 1 of them new since [-\d]{10} \d\d:\d\d UTC:", warnings[0])
    assert warnings[1:] == ["      1  rejected_rows: A row was rejected."]
    assert re.search(r"^Rows landed since [-\d]{10} \d\d:\d\d UTC: 1$", story["news"].text, re.M)


def test_the_next_day_has_a_summary_without_what_is_known(story: dict[str, Told]) -> None:
    """The webhook takes it in, but does not answer."""
    text = story["next day"].text
    assert text.startswith("Pipedrive funnel: prod is up to date (refresh prod)\n")
    assert re.search(r"2 checks warn, none of them new since [-\d]{10} \d\d:\d\d UTC\.$", text)
    assert "Rows landed" not in text  # none since


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command", "begins"),
    [
        ("blocked run", "refresh prod", "prod was not refreshed; "),
        ("blocked refresh", "land csv --refresh", "prod was not refreshed; "),
        ("blocked plan", "build prod", "prod was not built, and nothing was published."),
    ],
)
def test_a_blocked_audit_is_told_with_its_model_and_rows(
    story: dict[str, Told], name: str, command: str, begins: str
) -> None:
    told = story[name]
    assert told.done.code == 1
    first, said, blocked, *others = told.text.splitlines()
    assert first == f"Pipedrive funnel: {command} failed"
    assert said.startswith(begins)
    sentence = told.done.err.replace(" See above.", "").strip()
    assert said == sentence
    assert blocked == (
        "Blocked: pipedrive_staging.stg_deal_changes has 1 row against changes_are_valid."
    )
    assert any(line.startswith("Database: ") for line in others)
    assert "Anna" not in told.text


def test_what_fails_in_dev_is_told_to_nobody_else(story: dict[str, Told]) -> None:
    assert story["blocked dev"].done.code == 1
    assert "Blocked: pipedrive_staging.stg_deal_changes" in story["blocked dev"].done.out
    assert story["blocked dev"].texts == []


def test_a_failed_landing_is_told(warehouse: Warehouse, webhook: Webhook) -> None:
    done = run_command(warehouse, *NOWHERE, **webhook.settings)
    assert done.code == 2
    (text,) = webhook.taken()
    first, said, *_ = text.splitlines()
    assert first == "Pipedrive funnel: land csv failed"
    assert said == "~/nowhere is no directory. Name the one with the six files."


def test_a_dry_run_and_a_mistyped_command_are_told_to_nobody_else(
    warehouse: Warehouse, webhook: Webhook
) -> None:
    api = ("land", "api", "--dry-run")
    assert run_command(warehouse, *NOWHERE, "--dry-run", **webhook.settings).code == 2
    assert run_command(warehouse, *api, PIPEDRIVE_API_TOKEN="", **webhook.settings).code == 3
    assert run_command(warehouse, "land", "cvs", **webhook.settings).code == 2
    assert webhook.taken() == []


def test_a_database_that_is_down_is_told(
    warehouse: Warehouse, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(warehouse.settings, "POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setitem(warehouse.settings, "POSTGRES_PORT", "1")
    monkeypatch.setattr(warehouse, "gateway", "postgres")
    done = run_command(warehouse, "refresh", "prod", **webhook.settings)
    assert (done.code, len(done.lines)) == (1, 1), done.err
    (text,) = webhook.taken()
    assert text.splitlines()[1] == done.err.strip()
    assert "Database: 127.0.0.1:1/pipedrive, gateway postgres" in text


def test_an_unforeseen_error_is_told_by_its_type(
    warehouse: Warehouse, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(*_: t.Any) -> t.NoReturn:
        raise KeyError("Anna")

    monkeypatch.setattr(Database, "plan", plan)
    with pytest.raises(KeyError):
        run_command(warehouse, "build", "prod", **webhook.settings)
    (text,) = webhook.taken()
    assert "Unforeseen: KeyError; the traceback says where." in text
    assert "Anna" not in text


def test_a_command_that_is_stopped_is_neither_told_nor_logged(
    story: dict[str, Told],
    warehouse: Warehouse,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: t.Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = warehouse.fetch(f"SELECT COUNT(*) FROM {runs.TABLE}").iloc[0, 0]
    monkeypatch.setattr(Database, "run", run)
    done = run_command(warehouse, "refresh", "prod", **webhook.settings)
    assert (done.code, done.err.strip()) == (130, "Stopped.")
    assert webhook.taken() == []
    assert warehouse.fetch(f"SELECT COUNT(*) FROM {runs.TABLE}").iloc[0, 0] == before


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            'The database says: invalid input syntax for type bigint: "Anna Smith" LINE 1: SELECT',
            'The database says: invalid input syntax for type bigint: "..."',
        ),
        (
            "Could not convert string 'Anna O'Brien' to INT64",
            "Could not convert string '...' to INT64",
        ),
        ("Key is taken. DETAIL: Key (email)=(anna@example.com) already exists.", "Key is taken."),
        ("mailbox anna.smith@example.com is full", "mailbox ... is full"),
        (
            'relation "pipedrive_raw.users" is not there',
            'relation "pipedrive_raw.users" is not there',
        ),
        ("ungültige Eingabe: »Anna« und „Smith“", "ungültige Eingabe: ... und ..."),
        (
            "Set X to land what Pipedrive's API gives, or the company's name.",
            "Set X to land what Pipedrive's API gives, or the company's name.",
        ),
    ],
)
def test_reasons_hold_nothing_of_the_data(said: str, told: str) -> None:
    assert alerts.without_data(said) == told


# --- what goes wrong with an alert ----------------------------------------------------------------


@pytest.fixture(scope="module")
def untold(warehouse: Warehouse) -> Done:
    """Fail without anybody to alert."""
    done = run_command(warehouse, *NOWHERE)
    assert done.code == 2
    return done


def test_alerts_are_off_unless_they_are_set_up(untold: Done, webhook: Webhook) -> None:
    assert webhook.taken() == []
    assert "alert" not in untold.out + untold.err


def fail_with(warehouse: Warehouse, untold: Done, **settings: str) -> str:
    """Fail with somebody to alert in vain, and return what is said of the alert."""
    begun = time.monotonic()
    done = run_command(warehouse, *NOWHERE, **settings)
    assert time.monotonic() - begun < alerts.SECONDS + 2
    assert (done.code, done.out) == (untold.code, untold.out)
    assert done.err.startswith(untold.err)
    assert HOOK_PATH not in done.err
    assert PASSWORD not in done.err
    said = done.err.removeprefix(untold.err).splitlines()
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize("manner", ["silent", "dripping"])
def test_a_slow_webhook_costs_seconds(
    manner: str,
    warehouse: Warehouse,
    untold: Done,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert alerts.SECONDS <= 5
    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    webhook.manner = manner
    said = fail_with(warehouse, untold, **webhook.settings)
    assert said == "No alert by Slack: TimeoutError"


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_webhook_may_refuse(
    status: int, warehouse: Warehouse, untold: Done, webhook: Webhook
) -> None:
    webhook.status = status
    said = fail_with(warehouse, untold, **webhook.settings)
    assert said == f"No alert by Slack: the answer is {status}"


def test_a_webhook_may_be_unreachable(warehouse: Warehouse, untold: Done) -> None:
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}{HOOK_PATH}"
        said = fail_with(warehouse, untold, SLACK_WEBHOOK_URL=url)
    assert said == "No alert by Slack: URLError"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"hooks.slack.com{HOOK_PATH}", "ValueError"),
        (f"file://{HOOK_PATH}", "SLACK_WEBHOOK_URL is no address"),
        (f"http://127.0.0.1:port{HOOK_PATH}", "InvalidURL"),
    ],
)
def test_a_webhook_may_be_mistyped(url: str, said: str, warehouse: Warehouse, untold: Done) -> None:
    problem = fail_with(warehouse, untold, SLACK_WEBHOOK_URL=url)
    assert problem == f"No alert by Slack: {said}"


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        ("silent", "TimeoutError"),
        ("garbled", "SMTPConnectError"),
        ("refusing", "SMTPSenderRefused"),
    ],
)
def test_a_mail_server_may_be_broken(
    manner: str,
    said: str,
    warehouse: Warehouse,
    untold: Done,
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    mail_server.manner = manner
    problem = fail_with(warehouse, untold, **mail_server.settings)
    assert problem == f"No alert by mail: {said}"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SMTP_PORT", "1", "ConnectionRefusedError"),
        ("SMTP_PORT", PASSWORD, "ValueError"),
        ("SMTP_HOST", "", "SMTP_HOST is not set"),
        ("ALERT_MAIL_FROM", "", "ALERT_MAIL_FROM is not set"),
    ],
)
def test_settings_of_mail_may_be_wrong(
    name: str, value: str, said: str, warehouse: Warehouse, untold: Done, mail_server: MailServer
) -> None:
    problem = fail_with(warehouse, untold, **mail_server.settings | {name: value})
    assert problem == f"No alert by mail: {said}"


def test_a_password_is_not_sent_in_the_clear(
    warehouse: Warehouse, untold: Done, mail_server: MailServer
) -> None:
    """The mail server of the tests cannot encrypt unless it has a certificate."""
    mail_server.commands.clear()
    login = {"SMTP_USER": "funnel", "SMTP_PASSWORD": PASSWORD}
    said = fail_with(warehouse, untold, **mail_server.settings, **login)
    assert said == "No alert by mail: SMTPNotSupportedError"
    assert not [line for line in mail_server.commands if line.startswith(("AUTH", "MAIL"))]


def test_one_channel_does_not_wait_for_the_other(
    warehouse: Warehouse, untold: Done, webhook: Webhook, mail_server: MailServer
) -> None:
    webhook.status = 500
    said = fail_with(warehouse, untold, **webhook.settings, **mail_server.settings)
    assert said == "No alert by Slack: the answer is 500"
    assert len(mail_server.mails) == 1


def test_a_good_command_stays_good(story: dict[str, Told]) -> None:
    done = story["next day"].done
    assert (done.code, done.err) == (0, "No alert by Slack: TimeoutError\n")
    assert "prod shows what was landed." in done.out


def test_a_log_or_summary_that_cannot_be_written_does_no_harm(
    story: dict[str, Told], warehouse: Warehouse, webhook: Webhook
) -> None:
    warehouse.execute("ALTER TABLE pipedrive_ops.runs RENAME TO runs_away")
    warehouse.execute("CREATE VIEW pipedrive_ops.runs AS SELECT 1 AS kind")
    done = run_command(warehouse, "refresh", "prod", **webhook.settings)
    warehouse.execute("DROP VIEW pipedrive_ops.runs")
    warehouse.execute("ALTER TABLE pipedrive_ops.runs_away RENAME TO runs")
    assert done.code == 0
    assert re.fullmatch(r"(pipedrive_ops\.runs was not written: \w+\n){2}", done.err), done.err
    (text,) = webhook.taken()
    assert "2 checks warn:" in text


def test_python_ends_while_a_webhook_drips(webhook: Webhook) -> None:
    """What sends does not hold up the end of the process, either."""
    webhook.manner = "dripping"
    code = (
        "from pipedrive_funnel import alerts; alerts.SECONDS = 0.2; "
        "alerts.post(alerts.Message('subject', 'text')); alerts.deliver()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=webhook.settings,
        capture_output=True,
        text=True,
        timeout=5,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No alert by Slack: TimeoutError\n"


@pytest.mark.usefixtures("story")
def test_the_secrets_are_in_no_file(warehouse: Warehouse, webhook: Webhook) -> None:
    """SQLMesh logs what it does; a webhook's address must not come near."""
    logs = list((warehouse.path / "logs").iterdir())
    assert logs
    files = [path for path in warehouse.path.rglob("*") if path.is_file()]
    for path in [*logs, *files]:
        assert HOOK_PATH.encode() not in path.read_bytes(), path


# --- mail -----------------------------------------------------------------------------------------


def test_a_mail_says_the_same(
    warehouse: Warehouse, webhook: Webhook, mail_server: MailServer
) -> None:
    done = run_command(warehouse, *NOWHERE, **webhook.settings, **mail_server.settings)
    assert done.code == 2
    (mail,) = mail_server.mails
    assert mail["From"] == "funnel@example.com"
    assert mail["To"] == "ops@example.com, boss@example.com"
    recipients = [line for line in mail_server.commands if line.upper().startswith("RCPT")]
    assert len(recipients[-2:]) == 2
    (text,) = webhook.taken()
    assert [mail["Subject"], *mail.get_content().splitlines()] == text.splitlines()
    assert mail.get_content_type() == "text/plain"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("from_the_start", [False, True], ids=("STARTTLS", "SSL"))
def test_a_login_is_encrypted(
    from_the_start: bool,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = make_certificate(tmp_path / "localhost.pem")
    server = MailServer(certificate, encrypted_from_the_start=from_the_start)
    if from_the_start:
        monkeypatch.setattr(alerts, "SSL_PORT", server.port)
    login = {"SMTP_USER": "funnel", "SMTP_PASSWORD": PASSWORD}
    trusted = {"SSL_CERT_FILE": str(certificate)}
    run_command(warehouse, *NOWHERE, **server.settings, **login, **trusted)
    assert server.logins == [("funnel", PASSWORD)]
    assert len(server.mails) == 1
    done = run_command(warehouse, *NOWHERE, **server.settings, **login)
    server.close()
    assert "No alert by mail: SSLCertVerificationError" in done.err
    assert len(server.mails) == 1


def test_settings_may_stand_in_a_file(
    warehouse: Warehouse, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "")  # what .env sets is undone after the test
    (warehouse.path / ".env").write_text(f"SLACK_WEBHOOK_URL={webhook.url}\n")
    done = run_command(warehouse, *NOWHERE)
    (warehouse.path / ".env").unlink()
    assert done.code == 2
    assert len(webhook.taken()) == 1
