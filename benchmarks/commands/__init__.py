"""The parts of the command line: what `bench checkpoint`, `bench data` and `bench cache` do.

Only what a command needs is imported, inside the command: help and list must answer at once.
"""
