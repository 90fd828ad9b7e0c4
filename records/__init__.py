"""The records of an experiment: which files there are, what is in them, and how they are written and read.

    <experiment>/
      experiment.json          ExperimentRecord: the resolved settings, the data, versions
      dense/                   dense.json (DenseRecord), epochs.jsonl, arch.json, model.safetensors
      trials/00012/
        trial.json             TrialRecord: what the trial is and what state it is in
        epochs.jsonl           one EpochRow per line
        checkpoint-00007.pt    the newest two, and those to be kept
        model/                 arch.json and model.safetensors of the pruned network, measure.json (Measurement)

Writers and readers share these classes, so what one writes every other reads, and what one reader refuses all refuse.
A field with a default is optional: a record from before it was added reads as if it held the default.

Imports pydantic and the standard library only.
"""
