"""A real browser for tests of pages: headless Chromium, watched for errors and for requests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LAUNCH_FLAGS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")


@contextmanager
def launched() -> Iterator:
    """A browser; skips where there is none, or nothing to drive it with."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(LAUNCH_FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser, file, **options) -> Iterator:
    """A page from disk, in a fresh profile; at the end nothing has gone wrong in it and nothing but it was loaded."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong, requests = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    yield page
    fetched = [url for url in requests if url != file.as_uri() and not url.startswith("blob:")]
    context.close()
    assert not wrong, wrong
    assert not fetched, fetched


def loudest(page, milliseconds, player="player") -> float:
    """The highest root mean square that a player's analyser sees in so long."""
    return page.evaluate(
        f"""async (milliseconds) => {{
          const samples = new Float32Array({player}.analyser.fftSize);
          const until = performance.now() + milliseconds;
          let most = 0;
          while (performance.now() < until) {{
            {player}.analyser.getFloatTimeDomainData(samples);
            most = Math.max(most, Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length));
            await new Promise((resolve) => setTimeout(resolve, 15));
          }}
          return most;
        }}""",
        milliseconds,
    )
