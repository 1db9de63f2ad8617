"""Makes the packages of this source tree importable, here and in child processes: an installation exposes only `crild`.

Import it before them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("PYTHONPATH", str(REPOSITORY))
