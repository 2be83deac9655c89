"""The ground floor of every command: flags and --config to options, errors in one line, logging.

Exit codes: 0; 2 for what a command cannot do at all, with one line on stderr; 130 after Ctrl-C. A command that can fail
in part says so with 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, NoReturn, Optional, get_args, get_type_hints

from hainan_k2 import __version__
from hainan_k2.config import checked, from_dict, words_of

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@dataclass(frozen=True)
class HelpPage:
    """What --help shows where it depends on other words of the command line.

    A class of options brings one by a static method help_page(argv, prog, example); `help_example` of the command's
    own class is the example, `help_title` of any class the title above its options.
    """

    hidden: Collection[str] = ()  # options that are left out
    notes: Mapping[str, str] = field(default_factory=dict)  # put behind the help of an option
    epilog: str = ""


class Parser(argparse.ArgumentParser):
    """argparse with errors in one line, no abbreviations, and --version."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def error(self, message: str) -> NoReturn:  # argparse would print the whole usage before it
        fail(message)


def parse(argv: Optional[Sequence[str]], description: str, *classes: type, **optional: type) -> list[Any]:
    """Instances of `classes` (and of `optional` ones) from flags and --config; flags override the file.

    A class given by keyword comes back as a dict of the values that were set, instead of an instance: what is not set
    is somebody else's to choose (a preset's). Errors end the program with one line and exit code 2.
    """
    every = [*classes, *optional.values()]
    argv = sys.argv[1:] if argv is None else argv
    page = _help_page(argv, every)
    parser = Parser(description=description, epilog=page.epilog)
    parser.add_argument("--config", metavar="FILE", help="YAML file with options, underscores for dashes")
    switches, valued, positional = set(), {"--config"}, []
    for cls in every:
        group = parser.add_argument_group(getattr(cls, "help_title", cls.__name__))
        hints = get_type_hints(cls)
        for f in fields(cls):
            if f.metadata.get("positional"):
                group.add_argument(f.name, nargs="*", default=argparse.SUPPRESS, help=f.metadata["help"])
                positional.append(f.name)
                continue
            flag, switch = "--" + f.name.replace("_", "-"), bool in (hints[f.name], *get_args(hints[f.name]))
            (switches if switch else valued).add(flag)
            group.add_argument(
                flag,
                dest=f.name,
                default=argparse.SUPPRESS,
                metavar="[true|false]" if switch else f.name.upper(),
                help=argparse.SUPPRESS if f.name in page.hidden else _help(f, page.notes.get(f.name, "")),
            )
    parser.usage = " ".join(["%(prog)s [--option VALUE ...]", *(f"[{name} ...]" for name in positional)])
    flags = vars(parser.parse_args(arranged(argv, switches, valued, bool(positional))))
    path = flags.pop("config", None)
    with errors_in_one_line():
        values = {**(read_yaml(path) if path else {}), **flags}
        known = {f.name for cls in every for f in fields(cls)}
        unknown = sorted({str(name) for name in values} - known)
        if unknown:
            raise ValueError(f"{path}: unknown option {', '.join(unknown)}")
        chosen = [{k: values[k] for k in values if k in {f.name for f in fields(cls)}} for cls in every]
        return [from_dict(cls, v) for cls, v in zip(classes, chosen)] + [
            checked(cls, v) for cls, v in zip(optional.values(), chosen[len(classes) :])
        ]


def arranged(argv: Iterable[str], switches: set[str], valued: set[str], positional: bool) -> list[str]:
    """Flags first, each in one word with its value, --flag=value, so that a value may begin with a dash; then, behind
    --, the words that stand by themselves. A switch without a value is true; where words may stand by themselves
    (`positional`), only true or false is its value."""
    flags, words, rest = [], [], deque(argv)
    while rest:
        word = rest.popleft()
        if word == "--":
            words += rest
            break
        if word in switches:
            given = rest and (rest[0].lower() in ("true", "false") if positional else rest[0][:1] != "-")
            word += "=" + (rest.popleft() if given else "true")
        elif word in valued and rest and not rest[0].startswith("--"):
            word += "=" + rest.popleft()
        (flags if word.startswith("-") and word != "-" else words).append(word)
    return [*flags, *(["--"] if words and positional else []), *words]


def _help_page(argv: Sequence[str], classes: Iterable[type]) -> HelpPage:
    page = HelpPage()
    if "--help" in argv or "-h" in argv:
        prog = os.path.basename(sys.argv[0])
        example = " ".join(filter(None, (getattr(cls, "help_example", "") for cls in classes)))
        with errors_in_one_line():
            for cls in classes:
                page = cls.help_page(argv, prog, example) if hasattr(cls, "help_page") else page
    return page


def _help(f: Field, note: str = "") -> str:
    default = "required" if f.default is MISSING else f.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    choices, bounds = f.metadata.get("choices"), f.metadata.get("bounds")
    words = [
        f.metadata.get("help", ""),
        *([f"one of {' '.join(choices)}"] if choices else []),
        *([words_of(bounds)] if bounds else []),
        *([note] if note else []),
    ]
    default = str(default).lower() if isinstance(default, bool) else default
    return (", ".join(words) + (f" (default: {default})" if default != "" else "")).replace("%", "%%")


def read_yaml(path: str) -> dict[str, Any]:
    """A flat YAML mapping; ValueError names the file and line of what is wrong."""
    import yaml

    with open(path, encoding="utf-8") as stream:
        try:
            values = yaml.safe_load(stream) or {}
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: should hold lines like 'max_duration: 200'")
    return values


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Around the body of a command: ValueError and OSError end it with one line and exit code 2, Ctrl-C with 130, and
    a reader that is gone (`| head`) with 141, as the shell counts SIGPIPE."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        raise SystemExit(141) from None
    except (ValueError, OSError) as error:
        fail(reason(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def reason(error: BaseException) -> str:
    """What an error says, in one line; of one out of a DataLoader's worker without the worker's traceback."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and " in DataLoader worker process " in lines[0]:
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(lines) or type(error).__name__


def fail(message: str) -> NoReturn:
    """One line to stderr and exit code 2: how every command refuses bad input."""
    print(f"{os.path.basename(sys.argv[0])}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def start_logging(*handlers: logging.Handler) -> None:
    """Log to stderr and to the handlers given, from INFO on."""
    logging.basicConfig(
        level=logging.INFO, format=LOG_FORMAT, force=bool(handlers), handlers=[logging.StreamHandler(), *handlers]
    )
