"""One hypothesis profile for the whole suite: the same examples on every run and every machine."""

from hypothesis import HealthCheck, settings

# too_slow measures the machine, not the test.
settings.register_profile("convx", derandomize=True, database=None, deadline=None, max_examples=60,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convx")
