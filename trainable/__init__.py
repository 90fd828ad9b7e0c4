"""One trial of alpha-scheduled pruning: the network, its gates, the schedules, the training, its records.

Importing the package does not import torch: spaces and the command line use only its light modules.
"""
