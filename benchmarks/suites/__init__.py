"""asv's suites; `problems.txt` one folder up has their problems."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
