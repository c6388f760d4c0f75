"""One hypothesis profile for the whole suite, and no user's cost factors: the same tests on every run and machine."""

import os

from hypothesis import HealthCheck, settings

# too_slow measures the machine, not the test.
settings.register_profile("convx", derandomize=True, database=None, deadline=None, max_examples=60,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convx")

os.environ["CONVX_COSTS"] = ""
