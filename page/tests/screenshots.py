"""Write the pictures of the docs: `make screenshots`, with Chromium, on the snapshot that is there.

They are drawn in few colours, so that a clone stays small.
"""

from __future__ import annotations

import io
import typing as t
from pathlib import Path

from PIL import Image
from served import PAGE, chromium, page_served

PICTURES: dict[str, tuple[str, int]] = {  # the address of each, and how high it is
    "funnel": ("?until=Jul+2024", 1360),
    "months": ("?tab=Months", 1100),
}
WIDTH, EMPTY_TOP, COLOURS = 1100, 80, 64


def write_pictures(directory: Path) -> None:
    """Write a PNG file for each of PICTURES."""
    with page_served() as address, chromium() as browser:
        for name, (query, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(address + query)
            wait(page)
            shown = {"x": 0, "y": EMPTY_TOP, "width": WIDTH, "height": height - EMPTY_TOP}
            picture = Image.open(io.BytesIO(page.screenshot(clip=shown)))
            picture.convert("RGB").quantize(COLOURS).save(directory / f"{name}.png", optimize=True)
            page.close()


def wait(page: t.Any) -> None:
    """Wait until the page has drawn its charts."""
    page.wait_for_selector("[data-testid=stVegaLiteChart] [aria-roledescription]")
    page.wait_for_selector("[data-testid=stStatusWidget]", state="detached")
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    write_pictures(PAGE.parent / "docs" / "page")
