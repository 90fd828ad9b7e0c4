"""What the report explains to a reader who has never seen the project, the same in every report."""

CONTROLS = (
    ("one-shot pruning", "The same channels are removed at once, without alpha, and the rest is retrained as long."),
    (
        "pruning random channels",
        "As one-shot, but which channels go is drawn by lot: what choosing them well is worth.",
    ),
    (
        "training from scratch",
        "The small network, trained from random weights: what starting from the dense one is worth.",
    ),
)

PROTOCOL = (
    "Trials are chosen by images held out from the training set, the validation images; a seed decides which. The test "
    "set takes no part in the search: a network is run on it only when it is measured, after its trial's last epoch. "
    "What counts is a trial's last epoch, never its best one. All trials train for the same number of epochs."
)

GLOSSARY = (
    ("accuracy at the cut", "Of the pruned network right after channels were removed, before any retraining."),
    (
        "alpha",
        "A factor from 1 (the channel is whole) to 0 (it is gone) by which the channels to be removed are scaled.",
    ),
    ("alpha schedule", "How alpha falls over the epochs: its family (exponential, cosine, …) and its rate."),
    ("branch", "A trial that goes on from another's checkpoint with other settings."),
    ("control", "A run without alpha, at the same budget, that a trial with alpha has to beat."),
    ("cut", "The moment at which the channels are physically removed, and how much that saves."),
    ("dense network", "The network before pruning, from which all trials start."),
    ("drop", "Validation accuracy of the dense network less that of the pruned one, in points."),
    ("front", "The trials that no other beats in accuracy without needing more MACs."),
    (
        "gate",
        "The place where alpha multiplies a channel: the output of its batch normalisation, unless said otherwise.",
    ),
    ("MACs", "Multiply-accumulate operations of one image's pass through the network: its computation."),
    ("one_shot, random_channels, from_scratch", "The kinds of controls, as the records call them; see above."),
    ("point", "One hundredth of an accuracy: from 93 % to 94 % is one point."),
    ("pruned_val_accuracy", "Validation accuracy if the cut were made now; at the end, that of the pruned network."),
    ("repeat", "The same trial with another seed, to tell luck from merit (`alphaprune confirm`)."),
    ("retraining", "Training of the small network between the cut and the end."),
    ("rung", "An epoch at which trials that look worst are stopped early."),
    ("trial", "One way to prune the network, tried from start to end."),
)
