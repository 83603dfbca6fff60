"""The page, served as `make page` does, and Chromium to look at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1]


@contextmanager
def page_served(*options: str, **variables: str) -> t.Iterator[str]:
    """Start the page as `make page` does, on a free port, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port))
    server = subprocess.Popen(
        (*command, *options),
        cwd=PAGE,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        else:
            raise RuntimeError(f"The page does not answer: {' '.join(command)}")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def chromium() -> t.Iterator[t.Any]:
    """Start the Chromium of the system."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()
