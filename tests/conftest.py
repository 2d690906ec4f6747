"""Hypothesis for all tests: no time limit, for a busy machine is not a defect."""

from hypothesis import settings

settings.register_profile("seedbed", deadline=None)
settings.load_profile("seedbed")
