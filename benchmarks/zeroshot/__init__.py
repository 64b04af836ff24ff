"""Zero-shot benchmarks: pictures and texts meet in the joint space of a dual encoder."""
