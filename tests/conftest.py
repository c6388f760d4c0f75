"""Hypothesis profiles for the whole suite, and no user's cost factors: the same tests on every run and machine."""

import os

from hypothesis import HealthCheck, settings

# too_slow measures the machine, not the test. Tests that draw more say so as a multiple of a profile's examples.
ALWAYS = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("convx", max_examples=60, **ALWAYS)
# For further kernel rows and builds, which share everything but the kernels: `pytest --hypothesis-profile=few`.
settings.register_profile("few", max_examples=20, **ALWAYS)
settings.load_profile("convx")

os.environ["CONVX_COSTS"] = ""
