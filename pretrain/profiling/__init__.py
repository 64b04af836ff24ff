"""What a training step costs, part by part, beside the same step done plainly (``make bench-pretrain``)."""
