"""YAML of other programs: mappings, lists, texts and numbers; no tags, no aliases, no deep nesting.

Aliases let a file of 1 kB expand to any size, and tags name objects to build.
"""

from __future__ import annotations

from typing import Any

_MAX_SIZE = 1 << 24  # bytes
_MAX_DEPTH = 50
_MAX_NODES = 1_000_000


def load_yaml(content: bytes, where: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
      where: the name of the file in error messages.
    Raises:
      ValueError: in one line, where it is larger than 16 MiB, not YAML, not a mapping, or has tags or aliases.
    """
    import yaml

    if len(content) > _MAX_SIZE:
        raise ValueError(f"{where} has {len(content)} bytes: at most {_MAX_SIZE} are read")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = content.decode("utf-8")
        depth = nodes = 0
        for event in yaml.parse(text, Loader=loader):
            opens = isinstance(event, yaml.CollectionStartEvent)
            depth += opens - isinstance(event, yaml.CollectionEndEvent)
            nodes += 1
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"alias *{str(event.anchor)[:40]}; files with aliases are not read")
            if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
                raise ValueError(f"tag {event.tag[:60]}; files with tags are not read")
            if depth > _MAX_DEPTH or nodes > _MAX_NODES:
                raise ValueError(f"it has more than {_MAX_DEPTH} levels or {_MAX_NODES} values")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"{where} cannot be read as YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{where} does not hold a mapping")
    return values
