"""One trial of alpha-scheduled pruning: the network, its gates, the schedules, the training, its records.

Importing the package imports no torch: spaces and the command line use the light modules (config, schedules) alone.
"""
