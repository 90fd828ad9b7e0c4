"""One trial in this process, without Ray and without records: a look at a schedule. A minute on two CPU cores.

python examples/one_trial.py
"""

import alphaprune

config = alphaprune.TrialConfig(
    epochs=6,
    alpha_fraction=0.5,
    alpha=alphaprune.Polynomial(rate=3),
    lr=alphaprune.CosineAnnealing(peak=0.03, warmup_epochs=1),
    optimizer=alphaprune.OptimizerConfig(batch_size=64),
    pruning=alphaprune.PruningConfig(amount=0.75, round_to=4),
)

if __name__ == "__main__":
    rows = alphaprune.run_trial(config, data="digits")
    print(rows[["phase", "alpha", "val_accuracy", "pruned_val_accuracy", "mac_sparsity"]].to_string())
