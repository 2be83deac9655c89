"""The command hainan-bench without installation. Imports of hainan_k2.bench find the package bench/, not this file."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.bench import main

if __name__ == "__main__":
    main()
