"""Everything that needs no lattice works where k2 is not installed: import, training, AR, NAR and SAR decoding."""

import subprocess
import sys

from tests.toy import ROOT, train_command

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('k2', '_k2'):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import importlib.util
original = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == 'k2' else original(name, *a)
from hainan_k2 import decode, train
"""


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True, cwd=ROOT)


def test_train_and_decode(toy):
    shown = run("train.main(sys.argv[1:])", *train_command(toy, "no-k2", "--num-epochs", "2"))
    assert shown.returncode == 0, shown.stderr
    shown = run("decode.main(sys.argv[1:])", "--exp-dir", str(toy / "no-k2"), "--cuts", str(toy / "dev.jsonl.gz"),
                "--lang-dir", str(toy / "lang"), "--method", "all", "--num-workers", "0")
    assert shown.returncode == 0, shown.stderr
    assert "k2 is not installed: without viterbi" in shown.stderr
    assert all(method in shown.stdout for method in ("ar-greedy", "ar-beam", "nar-greedy", "sar"))


def test_what_needs_k2_says_so(toy):
    shown = run("decode.main(sys.argv[1:])", "--method", "viterbi", "--exp-dir", str(toy))
    assert shown.returncode == 2 and "needs k2" in shown.stderr
    shown = run("train.main(sys.argv[1:])", *train_command(toy, "wants-k2", "--num-epochs", "1", "--backend", "k2"))
    assert shown.returncode == 2 and "k2 is not installed" in shown.stderr
