"""Many trials: sampling, early stopping, backends, observers and the command line."""
