"""``python -m bench.screenshots``: pictures of the page; run by ``make screenshots``.

Without options it runs the demonstration and writes ``docs/page.png`` and
``docs/page-dark.png``. With ``--sizes FOLDER``, it writes the page with 3, 300 and 10,000
sessions there, in both themes, on a phone and on a wide screen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect

from bench.chromium import PACKAGE, find, running_chromium
from bench.programs import PATIENCE, ROOT, BenchError, running
from bench.stack import serving, synthetic

Theme = Literal["light", "dark"]

_PICTURES: Mapping[Theme, Path] = {
    "light": ROOT / "docs" / "page.png",
    "dark": ROOT / "docs" / "page-dark.png",
}
_PICTURE: ViewportSize = {"width": 1280, "height": 720}
_SCREENS: Mapping[str, ViewportSize] = {
    "phone": {"width": 390, "height": 844},
    "wide": {"width": 1600, "height": 1000},
}
_SIZES = (3, 300, 10_000)
_WAITING = 70.0  # seconds until the demonstration's transactions count as long


def main() -> int:
    """Take the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.screenshots", description=__doc__)
    parser.add_argument("--sizes", metavar="FOLDER", type=Path, help="where to write the others")
    folder: Path | None = parser.parse_args().sizes
    program = find()
    if program is None:
        print(f"chromium is Debian's: apt-get install {PACKAGE}", file=sys.stderr)
        return 2
    try:
        with running_chromium(program) as browser:
            if folder is None:
                _picture(browser)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                _sizes(browser, folder)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _picture(browser: Browser) -> None:
    """Take the demonstration's picture in both themes."""
    with running([sys.executable, "-m", "demo"]) as demo, ExitStack() as pages:
        # Those that wait come first, then those that are idle in a transaction.
        url = demo.expect(r"(http://localhost:\d+/)") + "#sort=-activity"
        opened = {
            theme: pages.enter_context(_opened(browser, url, theme, _PICTURE))
            for theme in _PICTURES
        }
        for page in opened.values():
            page.wait_for_timeout(_WAITING * 1000 / len(opened))
        for theme, page in opened.items():
            _take(page, _PICTURES[theme])


def _sizes(browser: Browser, folder: Path) -> None:
    for sessions in _SIZES:
        with (
            TemporaryDirectory(prefix="bench-") as name,
            serving(Path(name), synthetic(sessions, sessions / 20)) as address,
        ):
            for theme in get_args(Theme):
                for screen, size in _SCREENS.items():
                    with _opened(browser, f"http://{address}/", theme, size) as page:
                        _take(page, folder / f"{sessions}-{theme}-{screen}.png")


@contextmanager
def _opened(browser: Browser, url: str, theme: Theme, size: ViewportSize) -> Iterator[Page]:
    """Open the page, until it shows all sessions."""
    with browser.new_context(
        viewport=size, color_scheme=theme, device_scale_factor=2, locale="en-GB"
    ) as context:
        page = context.new_page()
        page.goto(url)
        status = page.get_by_role("status", name="Connection")
        expect(status).to_contain_text("Live", timeout=PATIENCE * 1000)
        yield page


def _take(page: Page, path: Path) -> None:
    """Write what a page shows, in 256 colours, of which it has few more."""
    taken = Image.open(BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    taken.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"written: {path} ({path.stat().st_size / 1024:.0f} KiB)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
