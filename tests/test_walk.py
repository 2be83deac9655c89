"""What the documents name exists: the files and functions of hainan_k2/README.md, the rooms, every link."""

import ast
import re

import pytest

from tests.test_rooms import ORDER
from tests.toy import ROOT

MAP = (ROOT / "hainan_k2" / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    path
    for path in sorted(ROOT.glob("**/*.md"))
    if not set(path.relative_to(ROOT).parts) & {".venv", "build", "data", "download", "exp", "node_modules"}
]


def section(title):
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", MAP, flags=re.M | re.S)
    return text


def steps(title):
    """[(file, name in it, file that the link leads to)] of a section's numbered lines."""
    return re.findall(r"^\d+\. \[`([\w/.]+)::([\w.]+)`\]\(([\w/.]+)\)", section(title), flags=re.M)


def names_in(source):
    """Functions, classes and, as Class.method, methods of a source."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("title", ["One utterance", "One batch"])
def test_a_walk_has_at_most_nine_files(title):
    walked = steps(title)
    assert 5 <= len(walked) <= 9 and len(walked) == len(re.findall(r"^\d+\.", section(title), flags=re.M))


@pytest.mark.parametrize("file, name, link", [*steps("One utterance"), *steps("One batch")])
def test_a_step_of_a_walk_exists(file, name, link):
    assert file == link
    assert name in names_in((ROOT / "hainan_k2" / file).read_text(encoding="utf-8"))


def test_the_map_has_the_rooms_in_their_order():
    rows = re.findall(r"^\| `?([a-z/ ]+?)/?`? \|", MAP, flags=re.M)
    assert [row for row in rows if row != "room"] == [room for room in ORDER if room != "fsa/__init__"]


@pytest.mark.parametrize("what", ["a decoding method", "an encoder", "a corpus", "a language", "a file format"])
def test_an_addition_takes_five_steps_of_which_the_last_is_a_test(what):
    lines = re.findall(r"^\d+\. (.*)", section(rf"How do I add {what}\?"), flags=re.M)
    assert len(lines) == 5 and lines[-1].startswith("Test:")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing, f"{path.name}: {missing}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_scripts_that_exist(path):
    named = set(re.findall(r"(?:hainan_k2|lang|recipes|tests)/[\w/.-]+\.(?:py|sh)\b", path.read_text(encoding="utf-8")))
    missing = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    assert not missing, f"{path.name}: {missing}"
