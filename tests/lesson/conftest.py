"""A headless Chromium that opens the pages of lessons. Debian has it, and CI installs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

LAPTOP, TELEPHONE = (1440, 900), (390, 844)


class Browser:
    """One page at a time. Every test that opens one must end without an error in the console."""

    def __init__(self, folder: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver")
        if not (CHROMIUM and DRIVER):
            pytest.skip("needs Debian's chromium and chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.folder = folder
        self.screen()

    def screen(self, size=LAPTOP, **features):
        """Set the size, and features such as prefers_color_scheme="dark"."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def open(self, lesson):
        path = self.folder / "lesson.html"
        path.write_text(lesson.html, "utf-8")
        self.driver.get(path.as_uri())
        assert self.errors() == []

    def run(self, script, *arguments):
        """Run the body of a function in the page; numbers come back bit for bit."""
        wrapped = f"const f = (...arguments) => {{ {script} }};"
        wrapped += "return JSON.stringify(f(...arguments), (k, v) =>"
        wrapped += " ArrayBuffer.isView(v) ? Array.from(v) : v)"
        return json.loads(self.driver.execute_script(wrapped, *arguments) or "null")

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.find(selector).text

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium):
    chromium.screen()
    yield chromium
    assert chromium.errors() == []
