"""Image-text retrieval on Karpathy's test splits: Table 2.

The paper says no more than "plain captions"; five of them an image, and the any-of-five rule, are the usual protocol.
"""

all_captions = False
pictures = None

execution = dict(batch_size=64, workers=2)

quick = dict(pictures=200)
