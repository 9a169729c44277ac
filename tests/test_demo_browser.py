"""The demo's page in a real browser: videos play, nothing is fetched, nothing is complained of."""

from pathlib import Path

import pytest
from test_demo import demo  # noqa: F401, a fixture

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not CHROMIUM.exists():
    pytest.skip(f"no {CHROMIUM}: the page is checked in Debian's browser", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_page_plays_offline_on_a_desktop_and_on_a_phone(browser, demo, scheme, width):  # noqa: F811
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    address = (demo / "index.html").as_uri()
    page.goto(address)
    assert page.locator("video").count() == 4
    for index in range(4):
        video = page.locator("video").nth(index)
        video.scroll_into_view_if_needed()
        element = video.element_handle()
        page.wait_for_function("v => v.readyState >= 3 && !v.paused", arg=element)
        at = video.evaluate("v => v.currentTime")
        page.wait_for_function("([v, at]) => v.currentTime != at", arg=[element, at])
        assert video.evaluate("v => [v.videoWidth, v.videoHeight, v.error]") == [1056, 312, None]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert complaints == []
    page.close()
