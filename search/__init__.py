"""Many trials on a cluster: the study, early stopping, launch and command line."""
