"""The command hainan-bench without installation."""

import sys
from pathlib import Path

# `import hainan_k2.bench` finds the package bench/, not this file.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.bench import main

if __name__ == "__main__":
    main()
