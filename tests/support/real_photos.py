"""Real camera files to try things on, where somebody has put some; the tests that use them skip elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE_THE_CHECKOUT = Path(__file__).parents[3] / "shared" / "photos"
REAL_PHOTOS = Path(os.environ.get("TAGGER_REAL_PHOTOS", BESIDE_THE_CHECKOUT))
