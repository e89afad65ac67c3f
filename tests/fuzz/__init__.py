"""Files and settings that nobody would think of: what comes back is an answer or an error in words, soon, every time.

`python -m tests.fuzz --inputs 10000` is the long one, by hand; test_fuzz.py the short one.
"""
