"""How what the processes found in their shares of the scored pictures comes together in the main one.

MMEngine's ``DefaultSampler`` deals the pictures out in turn and gives every process as many, so that the last ones may
be scored twice; MMEngine takes the results back in turn and leaves out those beyond the data set's size. Each picture
then counts once, in the order of the data set.
"""

from mmengine.dist import get_dist_info

COLLECT = "gpu"
"""MMEngine's ``collect_device`` that sends results through the process group, whatever computes.

Its other one, ``cpu``, writes pickles to a folder that all machines must share, below the working directory.
"""


def nth_of_all(number: int) -> int:
    """The place in the data set of the picture that this process scores as its ``number``-th (from 0)."""
    rank, processes = get_dist_info()
    return number * int(processes) + int(rank)
