"""Which ideas help alpha-pruning? Each alone and some together, over seeds, paired with the same without it.

`run` trains what is not yet recorded; `table` collects the results in benchmarks/screening.parquet and writes
benchmarks/screening.md. The networks are those of the preset cifar10-small: VGG16 at a quarter width, 8,000 training
and 2,000 validation images, one dense network.

    python benchmarks/screening.py run --data FOLDER --work FOLDER --amounts 0.9 --seeds 0 1 --workers 2
    python benchmarks/screening.py table --work FOLDER

A run can be interrupted at any time: each result is appended to results.jsonl in the work folder when its training has
ended, and the next run starts with what is missing.

Unless a recipe says `epochs`, all have one budget of training compute: what an alpha trial took by default before this
table was made, 4 gated epochs and 8 of the pruned network. An epoch costs the multiply-accumulates of the network that
it trains, in units of the dense network's epoch. The teacher's passes are not counted, because all trials of a seed
share them. What is part of TrialConfig gives the same network there, to the bit (tests/test_screening.py).
"""

import argparse
import copy
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.rank.intervals import mean_margin
from records.dense import CHECKPOINT_NAME, DenseEpochRow
from records.network import FILE_NAME as ARCH_NAME
from trainable.checkpoints import read_checkpoint
from trainable.config import DataConfig, DenseConfig, OptimizerConfig, PruningConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data, load_data
from trainable.dense import train_dense
from trainable.device import prepare_device
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.layout import Layout
from trainable.network.placement import place_on
from trainable.network.weights import load_network, save_network
from trainable.pruning.criteria import score_channels
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import choose_masks, mask_highest, widths_of
from trainable.pruning.removal import remove_channels
from trainable.schedules.alpha import AlphaSchedule, Exponential, Polynomial
from trainable.schedules.lr_policies import CosineAnnealing
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import create_sgd, evaluate, recalibrate_norms, replace_network

RESULTS = Path(__file__).with_name("screening.parquet")
BATCH = 128
EPOCHS = 12
ALPHA_EPOCHS = 4
DENSE_EPOCHS = 20
CPU = torch.device("cpu")
# The convolutions of each of the five blocks between poolings.
BLOCKS = (2, 2, 3, 3, 3)


@dataclass(frozen=True)
class Recipe:
    """One way to prune. The defaults are the one-shot twin of cifar10-small's base."""

    fade: float = 0.0
    """Epochs over which alpha falls, before the cut; 0 for none."""
    by_step: bool = True
    """Whether alpha falls with each batch, or with each epoch."""
    schedule: AlphaSchedule = field(default_factory=lambda: Polynomial(rate=1))
    one_curve: bool = True
    """Whether one learning-rate curve spans the trial, or the fade has a constant rate of 0.01 of its own."""
    budget: str = "compute"
    """`compute` or `epochs`."""
    peak: float = 0.05
    warmup: int = 2
    weight_decay: float = 5e-4
    penalty: float = 0.0
    """Weight decay of what is doomed, growing to this over the fade: filters, and the weights that read them."""
    distillation: float = 0.0
    """Share of the dense network's softened outputs (temperature 4) in the loss."""
    criterion: str = "l1"
    scope: str = "global"
    multipliers: tuple[float, ...] = ()
    """Widths of the five blocks relative to each other, instead of a scope."""
    wait: float = 0.0
    """Epochs of training before the channels are chosen."""
    waves: int = 1
    """Cuts, each with its own fade and its own scores."""
    average: float = 0.0
    """Decay of an exponential moving average of the weights after the cut, which is what is evaluated."""
    dense_epochs: int = DENSE_EPOCHS
    """Epochs of the dense network; what is saved of 20 goes to the budget."""
    annealed: bool = True
    """Whether the dense network's learning rate falls to 0 in these epochs, or its curve of 20 epochs is cut off."""


SHORT = Recipe(fade=1)
RECIPES = {
    "one_shot_epochs": Recipe(budget="epochs"),
    "today_epochs": Recipe(fade=4, by_step=False, schedule=Exponential(), one_curve=False, budget="epochs"),
    "one_curve_epochs": Recipe(fade=4, by_step=False, schedule=Exponential(), budget="epochs"),
    "one_shot": Recipe(),
    "fade_1": SHORT,
    "fade_025": replace(SHORT, fade=0.25),
    "fade_2": replace(SHORT, fade=2),
    "fade_1_exponential": replace(SHORT, schedule=Exponential()),
    "fade_1_penalty": replace(SHORT, penalty=0.05),
    "one_shot_decay_2": Recipe(weight_decay=2e-3),
    "fade_1_decay_2": replace(SHORT, weight_decay=2e-3),
    "one_shot_decay_5": Recipe(weight_decay=5e-3),
    "one_shot_decay_10": Recipe(weight_decay=1e-2),
    "fade_1_decay_5": replace(SHORT, weight_decay=5e-3),
    "one_shot_distillation": Recipe(distillation=0.9),
    "fade_1_distillation": replace(SHORT, distillation=0.9),
    "one_shot_average": Recipe(average=0.99),
    "one_shot_fpgm": Recipe(criterion="fpgm"),
    "one_shot_taylor": Recipe(criterion="taylor"),
    "one_shot_uniform": Recipe(scope="uniform"),
    "one_shot_no_warmup": Recipe(warmup=0),
    "one_shot_peak_1": Recipe(peak=0.1),
    "waves_4": Recipe(fade=0.25, waves=4),
    "wait_1": Recipe(wait=1),
    "wait_1_fade_1": replace(SHORT, wait=1),
    "one_shot_blocks_falling": Recipe(multipliers=(1, 0.8, 0.5, 0.3, 0.2)),
    "one_shot_blocks_middle": Recipe(multipliers=(0.6, 0.8, 1, 0.6, 0.3)),
    "fade_1_penalty_decay_2": replace(SHORT, penalty=0.05, weight_decay=2e-3),
    "one_shot_decay_2_distillation": Recipe(weight_decay=2e-3, distillation=0.9),
    "fade_1_decay_2_distillation": replace(SHORT, weight_decay=2e-3, distillation=0.9),
    "fade_1_penalty_decay_2_distillation": replace(SHORT, penalty=0.05, weight_decay=2e-3, distillation=0.9),
    "one_shot_dense_16": Recipe(dense_epochs=16),
    "one_shot_unannealed": Recipe(dense_epochs=16, annealed=False, warmup=0),
    "fade_1_unannealed": replace(SHORT, dense_epochs=16, annealed=False, warmup=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train what is planned and not recorded")
    run.add_argument("--data", default="cifar10", help="CIFAR-10 as alphaprune takes it")
    run.add_argument("--work", type=Path, required=True, help="dense network, teacher's outputs and results")
    run.add_argument("--amounts", type=float, nargs="+", default=[0.9, 0.95, 0.75])
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    run.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    run.add_argument("--width", type=float, default=0.25)
    run.add_argument("--workers", type=int, default=1)
    table = commands.add_parser("table", help="collect the results and write the page")
    table.add_argument("--work", type=Path, nargs="*", default=[], help="adds these folders' results first")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run_plan(arguments)
    else:
        write_table(arguments.work)


def run_plan(arguments: argparse.Namespace) -> None:
    results = arguments.work / "results.jsonl"
    done = {identify(row) for row in read_results(results)}
    plan = [
        {"recipe": recipe, "amount": amount, "seed": seed, "width": arguments.width}
        for amount in arguments.amounts
        for seed in arguments.seeds
        for recipe in arguments.recipes
    ]
    missing = [job for job in plan if identify(job) not in done]
    print(f"{len(plan) - len(missing)} of {len(plan)} recorded", flush=True)
    # Here, so that each process finds its dense network.
    for recipe in {RECIPES[job["recipe"]] for job in missing}:
        prepare_dense(arguments.work, arguments.data, arguments.width, recipe)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, start_worker, (arguments.data,)) as pool:
        futures = [pool.submit(run_recipe, arguments.work, **job) for job in missing]
        for future in as_completed(futures):
            row = future.result()
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(
                f"{row['amount']:.2f} {row['recipe']:32} seed {row['seed']}  test {row['test_accuracy']:.4f}  "
                f"{row['epochs']} epochs, {row['compute']:.2f} dense epochs, {row['seconds']:.0f} s",
                flush=True,
            )


def read_results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def identify(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["recipe"], row["amount"], row["seed"], row["width"]


DATA: Data  # of a worker


def start_worker(source: str) -> None:
    global DATA
    prepare_device(CPU, 1)
    DATA = load_data(DataConfig(source, images=10_000, validation_fraction=0.2))


def prepare_dense(work: Path, source: str, width: float, recipe: Recipe) -> None:
    """Trains the dense network that a recipe starts from, unless it is there."""
    folder = dense_folder(work, width, recipe)
    if (folder / ARCH_NAME).exists():
        return
    config = DenseConfig(width=width, epochs=recipe.dense_epochs if recipe.annealed else DENSE_EPOCHS)
    data = load_data(DataConfig(source, images=10_000, validation_fraction=0.2))

    def show(row: DenseEpochRow) -> None:
        print("dense", row.epoch, row.val_accuracy, flush=True)
        if row.epoch == recipe.dense_epochs < config.epochs:
            raise CutOff

    try:
        train_dense(config, data, folder, threads=1, on_epoch=show)
    except CutOff:
        architecture = Architecture("vgg16", data.classes, width)
        network = architecture.create(config.seed)
        network.load_state_dict(read_checkpoint(folder / CHECKPOINT_NAME, CPU)["network"])
        save_network(network, folder, architecture, find_layout(architecture).widths, mean=data.mean, std=data.std)


class CutOff(Exception):  # noqa: N818
    """The dense network has been trained for as long as the recipe says."""


def dense_folder(work: Path, width: float, recipe: Recipe) -> Path:
    return work / f"dense-{width}-{recipe.dense_epochs}{'' if recipe.annealed else '-unannealed'}"


def run_recipe(work: Path, recipe: str, amount: float, seed: int, width: float) -> dict[str, Any]:
    """Trains one recipe and returns its row."""
    began = time.perf_counter()
    config = RECIPES[recipe]
    dense = load_network(dense_folder(work, width, config))
    layout = find_layout(Architecture("vgg16", DATA.classes, width))
    training = Training(config, amount, seed, work, dense, layout, DATA)
    training.run()
    network = training.final_network()
    validation, test = (evaluate(network, DeviceSplit(split, DATA, CPU)) for split in (DATA.validation, DATA.test))
    widths = training.layout.widths
    sparsities = layout.compute_sparsities(widths)
    return {
        "recipe": recipe,
        "amount": amount,
        "seed": seed,
        "width": width,
        "epochs": training.epochs,
        "compute": training.compute,
        "val_accuracy": validation.accuracy,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "mac_sparsity": sparsities["mac_sparsity"],
        "parameter_sparsity": sparsities["parameter_sparsity"],
        "widths": list(widths),
        "seconds": time.perf_counter() - began,
        "torch": torch.__version__,
    }


class Training:
    """One trial of a recipe, batch by batch.

    Attributes:
        layout: of `network`, without the channels that have been removed.
    """

    def __init__(
        self, recipe: Recipe, amount: float, seed: int, work: Path, dense: nn.Module, layout: Layout, data: Data
    ) -> None:
        self.recipe, self.amount, self.seed, self.work = recipe, amount, seed, work
        self.train = DeviceSplit(data.train, data, CPU)
        self.steps = self.train.count_steps(BATCH)
        self.teacher = copy.deepcopy(dense).eval()
        self.network: nn.Module = place_on(copy.deepcopy(dense), CPU)
        self.layout = layout
        self.width, self.dense_macs = layout.widths[0] / 64, layout.count("macs", layout.widths)
        self.optimizer_config = OptimizerConfig(weight_decay=recipe.weight_decay)
        self.compute = 0.0
        # The budget is that of the base's masks; those of other criteria differ by the rounding of the widths.
        base = choose_masks(self.score("l1"), PruningConfig(amount, round_to=4), layout)
        self.kept_macs = layout.count("macs", widths_of(base)) / self.dense_macs
        self.epochs = self.plan_epochs()
        self.optimizer = create_sgd(self.network, self.optimizer_config, 0.01)
        self.learning_rate = self.start_curve(self.epochs) if recipe.one_curve else self.keep_rate()
        self.average: list[Tensor] = []

    def plan_epochs(self) -> int:
        recipe = self.recipe
        if recipe.budget == "epochs":
            return EPOCHS
        budget = ALPHA_EPOCHS + (EPOCHS - ALPHA_EPOCHS) * self.kept_macs + DENSE_EPOCHS - recipe.dense_epochs
        before = recipe.wait + self.cost_of_fade()
        return math.floor(recipe.wait + recipe.fade * recipe.waves + (budget - before) / self.kept_macs + 1e-9)

    def cost_of_fade(self) -> float:
        waves = self.recipe.waves
        return sum(self.recipe.fade * math.pow(self.kept_macs, wave / waves) for wave in range(waves))

    def start_curve(self, epochs: int) -> LRDriver:
        policy = CosineAnnealing(peak=self.recipe.peak, warmup_epochs=self.recipe.warmup)
        return LRDriver(self.optimizer, policy, total=epochs * self.steps, steps=self.steps)

    def keep_rate(self) -> LRDriver:
        return LRDriver(self.optimizer, None, total=self.steps, steps=self.steps)

    def run(self) -> None:
        recipe = self.recipe
        batches = self.batches()
        for _ in range(round(recipe.wait * self.steps)):
            self.train_batch(*next(batches))
        for wave in range(recipe.waves):
            masks = self.choose(wave)
            gated = GatedNetwork(self.network, self.layout, masks, "bn_output")
            self.adopt(gated)
            fade = round(recipe.fade * self.steps)
            for step in range(fade):
                gated.set_alpha(self.alpha(step, fade))
                self.train_batch(*next(batches), doomed=masks, progress=(step + 1) / fade)
            gated.set_alpha(0)
            pruned = remove_channels(gated)
            recalibrate_norms(pruned, self.train, BATCH)
            self.adopt(pruned, masks)
        if not recipe.one_curve:
            self.optimizer = create_sgd(self.network, self.optimizer_config, 0.01)
            self.learning_rate = self.start_curve(self.epochs - round(recipe.fade))
        for batch in batches:
            self.train_batch(*batch)
            if recipe.average:
                self.update_average()

    def final_network(self) -> nn.Module:
        network = copy.deepcopy(self.network)
        if self.average:
            with torch.no_grad():
                for parameter, average in zip(network.parameters(), self.average, strict=True):
                    parameter.copy_(average)
            recalibrate_norms(network, self.train, BATCH)
        return network

    def alpha(self, step: int, steps: int) -> float:
        """As in trainable.schedules.alpha: stage j of J trains at u = j / (J + 1); a stage is a batch or an epoch."""
        if self.recipe.by_step:
            return self.recipe.schedule.alpha_at((step + 1) / (steps + 1))
        stages = steps // self.steps
        return self.recipe.schedule.stage_alphas(stages)[step // self.steps]

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for epoch in range(1, self.epochs + 1):
            teacher = self.teacher_outputs(epoch) if self.recipe.distillation else None
            done = 0
            for inputs, labels in self.train.augmented_batches(BATCH, seed=self.seed, epoch=epoch):
                outputs = None if teacher is None else torch.from_numpy(teacher[done : done + len(labels)]).float()
                done += len(labels)
                yield inputs, labels, outputs

    def teacher_outputs(self, epoch: int) -> "npt.NDArray[np.float16]":
        """The dense network's logits [images, classes] of an epoch's views, in their order."""
        folder = dense_folder(self.work, self.width, self.recipe)
        path = self.work / "teacher" / f"{folder.name}-{self.seed}-{epoch}.npy"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            views = self.train.augmented_batches(500, seed=self.seed, epoch=epoch)
            with torch.inference_mode():
                outputs = np.concatenate([self.teacher(inputs).half().numpy() for inputs, _ in views])
            unfinished = path.with_suffix(f".{os.getpid()}.npy")
            np.save(unfinished, outputs)
            unfinished.replace(path)
        loaded: npt.NDArray[np.float16] = np.load(path)
        return loaded

    def train_batch(
        self,
        inputs: Tensor,
        labels: Tensor,
        teacher: Tensor | None,
        *,
        doomed: Sequence[Tensor] | None = None,
        progress: float = 0.0,
    ) -> None:
        network, recipe = self.network.train(), self.recipe
        logits = network(inputs)
        loss = functional.cross_entropy(logits, labels)
        if teacher is not None:
            divergence = functional.kl_div(
                functional.log_softmax(logits / 4, 1),
                functional.log_softmax(teacher / 4, 1),
                log_target=True,
                reduction="batchmean",
            )
            loss = (1 - recipe.distillation) * loss + recipe.distillation * 16 * divergence
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if doomed is not None and recipe.penalty:
            self.add_penalty(doomed, recipe.penalty * progress)
        self.optimizer.step()
        self.learning_rate.after_batch()
        self.compute += self.remaining_macs * len(labels) / len(self.train)

    @property
    def remaining_macs(self) -> float:
        """As a fraction of the dense network's."""
        return self.layout.count("macs", self.layout.widths) / self.dense_macs

    def add_penalty(self, masks: Sequence[Tensor], strength: float) -> None:
        weights = dict(inner(self.network).named_parameters())
        for layer in self.layout.layers:
            if layer.kind != "normalisation":
                weight = weights[f"{layer.name}.weight"]
                touched = torch.zeros(weight.shape[:2], dtype=torch.bool)
                if (rows := self.layout.mask_axis(layer.rows, masks)) is not None:
                    touched |= ~rows[:, None]
                if (columns := self.layout.mask_axis(layer.columns, masks)) is not None:
                    touched |= ~columns
                assert weight.grad is not None
                filters = touched.reshape(touched.shape + (1,) * (weight.ndim - 2))
                weight.grad.add_(weight.detach() * filters, alpha=strength)

    def update_average(self) -> None:
        current = [parameter.detach() for parameter in self.network.parameters()]
        if not self.average:
            self.average = [each.clone() for each in current]
        for average, each in zip(self.average, current, strict=True):
            average.lerp_(each, 1 - self.recipe.average)

    def adopt(self, network: nn.Module, masks: Sequence[Tensor] | None = None) -> None:
        """Trains `network` from now on, with what remains of the momentum; masks: of the channels that it lacks."""
        select = dict if masks is None else partial(self.layout.select, masks=masks)
        replace_network(self.optimizer, inner(self.network), inner(network), select)
        self.network = network
        if masks is not None:
            self.layout = self.layout.resize(widths_of(masks))

    def score(self, criterion: str) -> list[Tensor]:
        network, layout = self.network, self.layout
        if criterion == "fpgm":
            convolutions = [network.get_submodule(layer.name) for _, layer, _ in layout.list_members("convolution")]
            return [fpgm(convolution.weight.detach()) for convolution in convolutions]
        batches = self.train.plain_batches(BATCH, most=10 * BATCH)
        return score_channels(network, layout, criterion, batches=batches, seed=self.seed)  # type: ignore[arg-type]

    def choose(self, wave: int) -> list[Tensor]:
        recipe, waves = self.recipe, self.recipe.waves
        scores = self.score(recipe.criterion)
        if recipe.multipliers:
            return choose_by_blocks(scores, recipe.multipliers, self.amount, self.layout)
        # Each wave keeps the same fraction of what the one before it left.
        amount = 1 - (1 - self.amount) ** ((wave + 1) / waves) / self.remaining_macs
        pruning = PruningConfig(amount, scope=recipe.scope, round_to=4)  # type: ignore[arg-type]
        return choose_masks(scores, pruning, self.layout)


def inner(network: nn.Module) -> nn.Module:
    """The network whose parameters have the names of the dense network's."""
    return network.network if isinstance(network, GatedNetwork) else network


def fpgm(filters: Tensor) -> Tensor:
    """The sum of a filter's distances to all others of its layer (He et al. 2019): the most replaceable go first."""
    flat = filters.flatten(1)
    return torch.cdist(flat, flat).sum(1)


def choose_by_blocks(
    scores: Sequence[Tensor], multipliers: Sequence[float], amount: float, layout: Layout
) -> list[Tensor]:
    """Masks of widths in the proportion of the blocks' multipliers, the widest that cut `amount` of the MACs."""
    dense = layout.widths
    of_layer = [multiplier for multiplier, count in zip(multipliers, BLOCKS, strict=True) for _ in range(count)]

    def widths(scale: float) -> list[int]:
        return [
            min(width, max(4, math.ceil(width * min(1, scale * part) / 4) * 4))
            for width, part in zip(dense, of_layer, strict=True)
        ]

    scale = next(
        scale
        for scale in np.linspace(1 / min(multipliers), 0, 2000)
        if layout.count("macs", widths(scale)) <= (1 - amount) * layout.count("macs", dense)
    )
    return [mask_highest(layer, kept) for layer, kept in zip(scores, widths(scale), strict=True)]


def write_table(folders: Sequence[Path]) -> None:
    """Collects all results in screening.parquet and writes screening.md, which reads nothing else."""
    frames = [pd.DataFrame(read_results(folder / "results.jsonl")) for folder in folders]
    results = pd.concat([*([pd.read_parquet(RESULTS)] if RESULTS.exists() else []), *frames])
    identity = ["width", "amount", "recipe", "seed"]
    results = results.drop_duplicates(identity, keep="last").sort_values(identity, ignore_index=True)
    results.to_parquet(RESULTS, index=False)
    page = [PAGE_HEAD]
    for (width, amount), group in results.groupby(["width", "amount"]):
        page += [f"## {amount:.0%} of the MACs cut, {width:g} of the width\n", *format_group(group), ""]
    RESULTS.with_suffix(".md").write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page))


PAGE_HEAD = """# Which ideas help?

Made by `python benchmarks/screening.py table` from screening.parquet. What a recipe is, and the budget, is said in
screening.py. Test accuracy in percent on the 10,000 test images of CIFAR-10; VGG16, trained on 8,000 images, on a CPU.

`cost`: of training, in epochs of the dense network. ±: half of the 95% interval over the seeds (Student's t), of the
mean or of the paired differences over the seeds that both have; a single seed has none. They are the seeds of the
trials: all start from one dense network, or, where the recipe changes its training, from one of its own. `cost` does
not hold what that saves or adds: the dense networks of the `unannealed` recipes are trained for 4 epochs less. `twin`:
the same recipe without a fade. `old`: the alpha recipe that was the default before this table, `today_epochs`. Bold:
the interval does not hold 0. Of as many differences as there are here, a few do so by chance.
"""


def format_group(group: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table: a recipe per row, the best first."""
    accuracies = {str(name): 100 * rows.set_index("seed")["test_accuracy"] for name, rows in group.groupby("recipe")}
    lines = [
        "| recipe | seeds | epochs | cost | test accuracy | minus its twin | minus `one_shot` | minus old |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(accuracies, key=lambda each: -accuracies[each].mean()):
        row, mine = group[group["recipe"] == name].iloc[0], accuracies[name]
        others = (find_twin(name), "one_shot", "today_epochs")
        compared = [other if other in accuracies and other != name else None for other in others]
        differences = ["" if other is None else format_difference(mine - accuracies[other]) for other in compared]
        cells = [
            f"`{name}`",
            str(len(mine)),
            str(row["epochs"]),
            f"{row['compute']:.2f}",
            format_mean(mine),
            *differences,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def find_twin(name: str) -> str | None:
    """The recipe that differs in nothing but the fade."""
    recipe = RECIPES[name]
    if not recipe.fade or recipe.waves > 1:
        return None
    plain = Recipe()
    unfaded = replace(
        recipe, fade=0, by_step=plain.by_step, schedule=plain.schedule, one_curve=plain.one_curve, penalty=plain.penalty
    )
    return next((other for other, each in RECIPES.items() if each == unfaded), None)


def format_mean(values: "pd.Series[float]") -> str:
    known = values.dropna().tolist()
    if not known:
        return ""
    margin = "" if math.isnan(mean_margin(known)) else f" ± {mean_margin(known):.2f}"
    return f"{mean(known):.2f}{margin}"


def format_difference(values: "pd.Series[float]") -> str:
    """In bold if the interval does not hold 0."""
    known, text = values.dropna().tolist(), format_mean(values)
    return f"**{text}**" if known and abs(mean(known)) > mean_margin(known) else text


if __name__ == "__main__":
    main()
