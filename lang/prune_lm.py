"""The command hainan-prune-lm without installation: hainan_k2/lang/prune_lm.py."""

import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # instead of this folder

from hainan_k2.lang.prune_lm import main

if __name__ == "__main__":
    main()
