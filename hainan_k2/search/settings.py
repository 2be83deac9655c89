"""What a model directory knows about decoding: options and calibrations of methods, and the methods to choose from.

Weights are tuned with certain decoding resources, and are of no use with others: an ar-beam with a language model takes
another token bonus than one without. So a Setting holds where the same kinds of resources are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from hainan_k2.confidence import Calibration
from hainan_k2.config import checked, shown
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig

VERSION = 1


@dataclass(frozen=True)
class Setting:
    """Options of a method, for use with the decoding resources of these names (fields of DecodingResources), and the
    calibration of its confidences with these options and resources, where it was fitted."""

    method: str
    resources: tuple[str, ...]
    options: Mapping[str, Any]
    calibration: Optional[Calibration] = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {"method": self.method, "resources": list(self.resources), "options": dict(self.options)}
        return plain if self.calibration is None else {**plain, "calibration": self.calibration.as_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> Setting:
        """Raises ValueError for what is no Setting of this version's methods and options."""
        if not isinstance(values, dict) or set(values) - {"calibration"} != {"method", "resources", "options"}:
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
        calibration = Calibration.from_dict(values["calibration"]) if "calibration" in values else None
        return cls(method, used, checked(SearchConfig, options), calibration)


def used_resources(method: str, given: Sequence[Any]) -> tuple[Any, ...]:
    """Those of the resources `given` that the method uses, in the same order."""
    known = METHODS[method].needs + METHODS[method].uses
    return tuple(name for name in given if name in known)


def setting_of(method: str, given: Sequence[str], settings: Sequence[Setting]) -> Optional[Setting]:
    """What is stored for a method with the resources `given`."""
    used = used_resources(method, given)
    return next((s for s in settings if (s.method, s.resources) == (method, used)), None)


@dataclass(frozen=True)
class Decoding:
    """What is stored with a model: settings, and the methods that are searched with by default, the best first."""

    settings: tuple[Setting, ...] = ()
    methods: tuple[str, ...] = ()

    def with_setting(self, new: Setting) -> Decoding:
        """These, with a setting in place of that of the same method and resources."""
        others = [s for s in self.settings if (s.method, s.resources) != (new.method, new.resources)]
        return replace(self, settings=(*others, new))

    def as_section(self) -> dict[str, Any]:
        """As a section of config.json."""
        plain: dict[str, Any] = {"version": VERSION, "settings": [setting.as_dict() for setting in self.settings]}
        return {**plain, "methods": list(self.methods)} if self.methods else plain

    @classmethod
    def from_section(cls, section: Any) -> Decoding:
        """Of such a section. Raises ValueError for another version, or what is no setting or method."""
        if (
            not isinstance(section, dict)
            or section.get("version") != VERSION
            or not isinstance(section.get("settings"), list)
        ):
            raise ValueError(f"{shown(section)} should have version {VERSION} and a list of settings")
        methods = section.get("methods", [])
        known = [name for name, method in METHODS.items() if not method.oracle]
        if not isinstance(methods, list) or not all(isinstance(m, str) and m in known for m in methods):
            raise ValueError(f"methods {shown(methods)} should be a list of decoding methods")
        return cls(tuple(Setting.from_dict(values) for values in section["settings"]), tuple(methods))
