"""Where each data set lies, what it must contain, how to check and prepare it.

- ``root``: the folder that holds every data set, and the marker by which generated data are told from real ones
- ``images``, ``verify``: the pictures of a split; every one decoded and hashed once, remembered until it changes
- ``classification``: the sets of Tables 2 and 3 and more, one declaration each; ``vocabulary``: their class names and
  prompts
- ``retrieval``, ``karpathy``: pictures with captions
- ``ade20k``: the pairs of one split of ADE20K
- ``catalogue``, ``presence``, ``inspection``: what the command line says of all of them
- ``prepare``, ``unpack``: getting them (by :mod:`benchmarks.download`)
- ``world``, ``shapes``, ``textures``, ``captions``: generated scenes and what is said of them
- ``sample``, ``sample_views``: those scenes written in the official layouts, so that the readers above read them
"""
