"""What all trainings share on MMEngine: the Runner, durable resume states, samplers, progress.

MMEngine's own resume unpickles a file, runs the config text stored in it and replays every past batch. Here a resume
state is one safetensors file (tensors and JSON), every sample's randomness follows from (seed, epoch, index), and the
sampler is moved to its position by arithmetic, so that an interrupted run ends exactly like an uninterrupted one.
"""
