"""Where each data set lies, what it must contain, how to check and prepare it.

- ``root``: the folder that holds every data set, and the marker by which generated data are told from real
ones
- ``verify``: every image decoded and hashed once, remembered until it changes
- ``ade20k``: the pairs of one split of ADE20K, verified
- ``world``, ``shapes``, ``textures``: generated scenes and what they are drawn from
- ``sample``: those scenes written in the official layouts, so that the loaders above read them
"""
