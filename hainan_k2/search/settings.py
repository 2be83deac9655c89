"""Setting: options that a model directory keeps as the defaults of a method, e.g. those that hainan-tune found.

Weights are tuned with certain decoding resources, and are of no use with others: an ar-beam with a language model takes
another token bonus than one without. So a Setting holds where the same kinds of resources are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hainan_k2.config import checked, shown
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig

VERSION = 1


@dataclass(frozen=True)
class Setting:
    """Options of a method, for use with the decoding resources of these names (fields of DecodingResources)."""

    method: str
    resources: tuple[str, ...]
    options: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"method": self.method, "resources": list(self.resources), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Any) -> Setting:
        """Raises ValueError for what is no Setting of this version's methods and options."""
        if not isinstance(values, dict) or set(values) != {"method", "resources", "options"}:
            raise ValueError(f"{shown(values)} should have method, resources and options")
        method, resources, options = values["method"], values["resources"], values["options"]
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"no method {shown(method)}")
        used = used_resources(method, resources) if isinstance(resources, list) else ()
        if not isinstance(resources, list) or list(used) != resources:
            raise ValueError(f"{shown(resources)} are not resources of {method}")
        if not isinstance(options, dict):
            raise ValueError(f"options of {method} are {shown(options)}")
        foreign = sorted({str(name) for name in options} - set(METHODS[method].options))
        if foreign:
            raise ValueError(f"{method} has no option {', '.join(foreign)}")
        return cls(method, used, checked(SearchConfig, options))


def used_resources(method: str, given: Sequence[Any]) -> tuple[Any, ...]:
    """Those of the resources `given` that the method uses, in the same order."""
    known = METHODS[method].needs + METHODS[method].uses
    return tuple(name for name in given if name in known)


def setting_of(method: str, given: Sequence[str], settings: Sequence[Setting]) -> Mapping[str, Any]:
    """The stored options of a method with the resources `given`; empty where none are stored."""
    used = used_resources(method, given)
    for setting in settings:
        if (setting.method, setting.resources) == (method, used):
            return setting.options
    return {}


def with_setting(settings: Sequence[Setting], new: Setting) -> list[Setting]:
    """The settings with a new one, in place of that of the same method and resources."""
    others = [s for s in settings if (s.method, s.resources) != (new.method, new.resources)]
    return [*others, new]


def as_section(settings: Sequence[Setting]) -> dict[str, Any]:
    """The settings as a section of config.json."""
    return {"version": VERSION, "settings": [setting.as_dict() for setting in settings]}


def from_section(section: Any) -> list[Setting]:
    """The settings of such a section. Raises ValueError for another version, or what is no setting."""
    if (
        not isinstance(section, dict)
        or section.get("version") != VERSION
        or not isinstance(section.get("settings"), list)
    ):
        raise ValueError(f"{shown(section)} should have version {VERSION} and a list of settings")
    return [Setting.from_dict(values) for values in section["settings"]]
