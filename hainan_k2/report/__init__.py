"""One HTML page that shows what a model heard in recordings and how far it can be trusted; it needs no network."""

from hainan_k2.report.content import Detail, Page, page_data
from hainan_k2.report.render import render

__all__ = ["Detail", "Page", "page_data", "render"]
