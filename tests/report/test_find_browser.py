"""The search for a browser and its driver, and the message if one is missing."""

import sys
from types import ModuleType

import pytest

from tests.report import browser


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """install(name, script) puts a program on an otherwise empty PATH; Selenium is importable."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(browser, "BROWSERS", ("chromium", "google-chrome"))
    monkeypatch.setattr(browser, "DRIVERS", ("chromedriver",))
    monkeypatch.setitem(sys.modules, "selenium", ModuleType("selenium"))

    def install(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
        return str(tmp_path / name)

    return install


def test_a_browser_and_its_driver_are_found(programs):
    chrome = programs("google-chrome", "echo Google Chrome 156.0.1.2")
    driver = programs("chromedriver", "echo 'ChromeDriver 156.0.9.9 (abc1.2)'")
    assert browser.find_browser() == (chrome, driver)
    chromium = programs("chromium", "echo Chromium 156.0.1.2 built on Debian 12.1")
    assert browser.find_browser() == (chromium, driver)


def test_the_error_names_what_is_missing(programs, monkeypatch):
    def lacking():
        with pytest.raises(LookupError) as error:
            browser.find_browser()
        return str(error.value)

    assert lacking().startswith("no browser and no chromedriver: tests/browser.sh")
    programs("chromium", "echo Chromium 156.0.1.2")
    assert lacking().startswith("no chromedriver: tests/browser.sh")
    programs("chromedriver", "echo ChromeDriver 150.0.1.2")
    assert "chromium is version 156" in lacking() and "chromedriver version 150" in lacking()
    programs("chromium", "echo a library is missing >&2; exit 127")
    assert lacking().endswith("chromium does not start: a library is missing")
    monkeypatch.setitem(sys.modules, "selenium", None)
    assert lacking().startswith("Selenium cannot be imported")
