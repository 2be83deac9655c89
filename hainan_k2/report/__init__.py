"""One HTML page about recognised recordings: sound, spectrogram, words, confidences, errors; it needs no network."""

from hainan_k2.report.content import page_data
from hainan_k2.report.page import Detail, Page
from hainan_k2.report.render import render

__all__ = ["Detail", "Page", "page_data", "render"]
