"""The command hainan-train-bpe without installation: hainan_k2/lang/train_bpe.py."""

import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # instead of this folder

from hainan_k2.lang.train_bpe import main

if __name__ == "__main__":
    main()
