"""Searches: encoder frames -> hypotheses. Every method is in one table, hainan_k2.search.methods.METHODS."""

from hainan_k2.search.choosing import check_methods, choose_methods
from hainan_k2.search.method import Method
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources

__all__ = ["METHODS", "NO_RESOURCES", "DecodingResources", "Method", "SearchConfig", "check_methods", "choose_methods"]
