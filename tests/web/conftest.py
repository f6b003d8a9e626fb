"""Fixtures of the tests that drive the page in a browser."""

from support.browser_page import address, browser, tab

__all__ = ["address", "browser", "tab"]
