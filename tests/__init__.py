"""Tests of the project; support/ holds what several of them use."""

import gc
import os

# SQLMesh reads this when it is imported. Each core runs a worker of the tests already: a pool of
# processes that read the models of one project would only cost time.
os.environ["MAX_FORK_WORKERS"] = "1"

# SQLMesh makes trees of syntax by the million, and few of them are garbage. Looking through them
# as often as Python does by default takes a third of the time of all tests.
gc.set_threshold(100_000, 20, 50)
