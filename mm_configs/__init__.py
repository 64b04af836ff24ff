"""What MMEngine runs: one file of named protocol fields a benchmark."""
