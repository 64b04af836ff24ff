"""Dense prediction: the image tower as a backbone of MMSegmentation and MMDetection.

Importing this package puts the served operators behind ``mmcv.ops`` (see `benchmarks.dense.operators`). It
happens here, and not in a start-up function, because a *spawned* data-loader worker begins with nothing:
whatever it unpickles from this package brings the operators with it, before anything imports ``mmcv.ops``.
The import costs milliseconds: neither torch nor MMSegmentation is loaded by it.
"""

from benchmarks.dense import operators

operators.install()
