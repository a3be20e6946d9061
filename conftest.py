"""Models that tests pretrain are kept apart from those of the person who runs them."""

import os
import tempfile

os.environ.setdefault("GAMESIM_CACHE", tempfile.mkdtemp(prefix="gamesim-cache-"))
