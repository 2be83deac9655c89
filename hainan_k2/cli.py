"""What every command shares: parsing of flags and --config, one-line errors, logging.

Exit codes: 0 for success, 1 where some of the inputs failed, 2 for an error, with one line on stderr, 130 after Ctrl-C.
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
from hainan_k2.config import bounds_in_words, checked, from_dict
from hainan_k2.named_functions import allow_function

NORMALISE = "normalise"  # the option of every command that names a Python function
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@dataclass(frozen=True)
class HelpPage:
    """What --help shows besides the options, where it depends on other arguments (`--method X --help`).

    A class of options makes it in a static method `help_page(argv, prog, example)`; `example` is the `help_example` of
    the command's own class. `help_title` of a class is the title above its options.
    """

    hidden: Collection[str] = ()  # options not to show
    notes: Mapping[str, str] = field(default_factory=dict)  # by option, text to add to its help
    epilog: str = ""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, without abbreviations, and with --version."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def error(self, message: str) -> NoReturn:  # without argparse's usage before it
        fail(message)


def parse(argv: Optional[Sequence[str]], description: str, *classes: type, **optional: type) -> list[Any]:
    """Options from flags and from the YAML file in --config; flags override the file.

    Errors end the program with one line and exit code 2.

    Args:
      argv: arguments; None takes those of the program.
      description: first line of --help.
      classes: dataclasses of options, whose fields are made with `hainan_k2.config.option`.
      optional: dataclasses, under any keyword, of which only the values that were set are returned; a preset gives the
        others.

    Returns:
      An instance of each of `classes`, then a dict for each of `optional`.
    """
    every = [*classes, *optional.values()]
    argv = sys.argv[1:] if argv is None else argv
    page = _help_page(argv, every)
    parser = Parser(description=description, epilog=page.epilog)
    parser.add_argument("--config", metavar="FILE", help="YAML file with options, underscores for dashes")
    switches: set[str] = set()  # flags whose value may be left out
    valued = {"--config", "--normalise"}
    chosen_here = any(f.name == NORMALISE for cls in every for f in fields(cls))
    if not chosen_here:
        parser.add_argument(
            "--normalise",
            metavar="MODULE:FUNCTION",
            default=argparse.SUPPRESS,
            help="the Python function that the model's texts are normalised by, where its tokenizer names one",
        )
    positional: list[str] = []
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
        named = flags.get(NORMALISE, "") if chosen_here else flags.pop(NORMALISE, "")
        if named and (":" in named or not chosen_here):
            allow_function(named)  # a flag, not a key of a file: only the user may have code imported
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
    """Arguments in a form that argparse reads: flags as --flag=value, then --, then positional arguments.

    So a value may begin with a dash. A switch without a value is true; with `positional` arguments, only "true" or
    "false" after a switch is its value.
    """
    flags: list[str] = []
    words: list[str] = []
    rest = deque(argv)
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


def _help_page(argv: Sequence[str], classes: Iterable[Any]) -> HelpPage:
    page = HelpPage()
    if "--help" in argv or "-h" in argv:
        prog = os.path.basename(sys.argv[0])
        example = " ".join(filter(None, (getattr(cls, "help_example", "") for cls in classes)))
        with errors_in_one_line():
            for cls in classes:
                page = cls.help_page(argv, prog, example) if hasattr(cls, "help_page") else page
    return page


def _help(f: Field[Any], note: str = "") -> str:
    default = "required" if f.default is MISSING else f.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    choices, bounds = f.metadata.get("choices"), f.metadata.get("bounds")
    words = [
        f.metadata.get("help", ""),
        *([f"one of {' '.join(choices)}"] if choices else []),
        *([bounds_in_words(bounds)] if bounds else []),
        *([note] if note else []),
    ]
    default = str(default).lower() if isinstance(default, bool) else default
    return (", ".join(words) + (f" (default: {default})" if default != "" else "")).replace("%", "%%")


def read_yaml(path: str) -> dict[str, Any]:
    """A flat mapping from a YAML file. Raises ValueError with the file and the line of an error."""
    import yaml

    with open(path, encoding="utf-8") as stream:
        try:
            values = yaml.safe_load(stream) or {}
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: should have lines like 'max_duration: 200'")
    return values


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """A context for the body of a command: ValueError and OSError end it with one line and exit code 2, Ctrl-C with
    130, and a closed pipe (`| head`) with 141, the shell's code for SIGPIPE."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python prints an error when it exits
        raise SystemExit(141) from None
    except (ValueError, OSError) as error:
        fail(reason(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def reason(error: BaseException) -> str:
    """The message of an error in one line; for an error in a DataLoader worker without the worker's traceback."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and " in DataLoader worker process " in lines[0]:
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(lines) or type(error).__name__


def fail(message: str) -> NoReturn:
    """Print an error in one line on stderr and exit with code 2."""
    print(f"{os.path.basename(sys.argv[0])}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def start_logging(*handlers: logging.Handler, level: int = logging.INFO) -> None:
    """Log messages of `level` and above to stderr and to `handlers`."""
    logging.basicConfig(
        level=level, format=LOG_FORMAT, force=bool(handlers), handlers=[logging.StreamHandler(), *handlers]
    )
