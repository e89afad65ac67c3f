"""Real servers, standbys and trainings that are killed and stopped at random moments: nothing may be lost, nothing may lie.

`python -m tests.faults --runs 200 --seed 1` is the long one, by hand; test_faults.py the short one.
"""
