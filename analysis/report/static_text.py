"""What the report explains to a reader who has never seen the project, the same in every report."""

CONTROLS = (
    ("one-shot", "The same channels are removed all at once, without alpha, and the rest is retrained for as long."),
    (
        "random channels",
        "As one-shot, but the channels are drawn at random: this shows what choosing them well is worth.",
    ),
    (
        "training from scratch",
        "The small network, trained from random weights: this shows what starting from the dense one is worth.",
    ),
)

PROTOCOL = (
    "Trials are chosen by the validation images, which are held out from the training set; a seed decides which they "
    "are. The test set plays no part in the search: a network runs on it only when it is measured, after its trial's "
    "last epoch. A trial is judged by its last epoch, never by its best one. All trials train for the same number of "
    "epochs."
)

GLOSSARY = (
    ("accuracy at the cut", "Of the pruned network right after channels were removed, before any retraining."),
    (
        "alpha",
        "A factor that scales the channels to be removed: at 1 the channel is whole, at 0 it is gone.",
    ),
    ("alpha schedule", "How alpha falls over the epochs: its family (exponential, cosine, …) and its rate."),
    ("branch", "A trial that continues from another's checkpoint with other settings."),
    ("control", "A run without alpha, on the same budget, that a trial with alpha has to beat."),
    ("cut", "The moment when the channels are physically removed, and how much that saves."),
    ("dense network", "The network before pruning, which all trials start from."),
    ("drop", "Validation accuracy of the dense network minus that of the pruned one, in points."),
    (
        "gate",
        "Where alpha multiplies a channel: the output of its batch normalisation, unless stated otherwise.",
    ),
    ("MACs", "Multiply-accumulate operations of one image's pass through the network: its computation."),
    ("Pareto front", "The trials for which no other is at least as accurate with fewer MACs."),
    ("point", "One hundredth of an accuracy: from 93% to 94% is one point."),
    ("repeat", "The same trial with another seed, to tell luck from merit (`alphaprune confirm`)."),
    ("retraining", "Training of the small network between the cut and the end."),
    ("rung", "An epoch at which the trials that look worst are stopped early."),
    ("trial", "One way to prune the network, tried from start to end."),
    ("validation accuracy", "Of the network with its channels cut; the records call it `pruned_val_accuracy`."),
)
