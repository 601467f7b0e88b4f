"""Ask what is learned from labels, from outlines and from everyday photographs, at the same number of phantoms.

    python -m studies.learning_curves FOLDER     a study whose notebook 02 was run (full); trains what is missing

Every method learns from the same first phantoms, and keeps its last epoch, so that no other picture chooses anything.
Tested are 1,000 phantoms that none has seen, and the study's sources, on which nothing was trained. The seeds draw
weights, order and changes; for frozen features with ImageNet weights the parts of the cross-validation alone.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.swa_utils import update_bn

from pcos_utils import config
from pcos_utils.config import LITE0
from pcos_utils.data.pixels import stack
from pcos_utils.evaluation.intervals import resample
from pcos_utils.files import cached, code, write_csv
from pcos_utils.follicles import network as unet
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.follicles.labels import resized, taught
from pcos_utils.models import architectures, devices, frozen, training, weights
from pcos_utils.models.recipes import FOLLICLES
from studies import OUT, curves_report, real_frames, source_pairs, with_seeds

# The modules whose code decides a cell.
CODE = (
    "../studies/learning_curves.py",
    *training_set.CODE,
    *(f"follicles/{name}.py" for name in ("counting", "labels", "network", "pretrain")),
    *(f"models/{name}.py" for name in ("architectures", "devices", "frozen", "training")),
)
SIZES, SEEDS, HELD_OUT = (100, 300, 1000, 3000), (0, 1, 2), 500  # held out of each class
AS_OFTEN = 600  # phantoms; fewer are shown for more epochs
SIDES = {"iustnet": 64, "densenet121d": 64, "lite0_imagenet": 128, "lite0_random": 128}  # px
EPOCHS = {"iustnet": 12, "densenet121d": 4, "unet": 4}  # limited by the hours that two cores need
RESAMPLES = 2000
Scores = dict[str, np.ndarray]  # of the held-out phantoms and of the study's images


class LabelUNet(unet.UNet):
    """The follicle network's body with one logit: 508,945 parameters, taught by labels instead of outlines."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(unet.CHANNELS[0], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 1) for standardised images (n, 1, H, W): the mean over the image of one map."""
        return self.head(self.body(x)).mean(dim=(2, 3))


def train_unet(phantoms: dict, labels: torch.Tensor, epochs: int, seed: int, outlines: bool) -> nn.Module:
    """Return the U-Net after its training by outlines, or by the labels alone."""
    network, truth = (unet.UNet(), unet.targets(phantoms)) if outlines else (LabelUNet(), labels)
    change = pretrain.jitter if outlines else lambda x, y, generator: (pretrain.jitter(x, x, generator)[0], y)
    loss = {"loss": unet.segmentation_loss} if outlines else {}
    train = training.Images(torch.from_numpy(phantoms["images"])[:, None], truth, torch.ones(len(labels)))
    recipe = FOLLICLES.model_copy(update={"epochs": epochs})
    engine = devices.fastest()
    training.fit(network, pretrain.prepare, train, None, recipe, seed=seed, engine=engine, change=change, **loss)
    return network.eval()


def logistic(method: str, labels: np.ndarray, seed: int, sets: list[torch.Tensor]) -> list[np.ndarray]:
    """Return scores of all sets but the first, by a logistic regression on the first one's frozen features.

    They are EfficientNet-Lite0's 1,280, standardised; random weights are of a seed. The regression's strength is chosen
    among the phantoms that teach.
    """
    network, prepare = architectures.build(LITE0), partial(architectures.prepare, LITE0)
    weights.start(network, LITE0, "imagenet" if method == "lite0_imagenet" else "none", must_fetch=True)
    if method == "lite0_random":  # batch norm needs statistics, which ImageNet's weights bring along
        update_bn(map(prepare, sets[0][:256].split(64)), network)
    engine, parts = devices.fastest().exact(), StratifiedKFold(5, shuffle=True, random_state=seed)
    first, *others = (frozen.extract(network, prepare, pixels, engine)[:, 0].numpy() for pixels in sets)
    regression = LogisticRegressionCV(
        Cs=np.logspace(-5, 0, 6), cv=parts, scoring="roc_auc", l1_ratios=(0,), use_legacy_attributes=False, max_iter=500
    )
    return [*map(make_pipeline(StandardScaler(), regression).fit(first, labels).decision_function, others)]


def cell(method: str, size: int, seed: int, phantoms: dict, held: dict, real: dict) -> Scores:
    """Return the scores of one method after one training. ``real``: the study's images, grey and resized."""
    torch.manual_seed(seed)
    phantoms = {name: values[:size] for name, values in phantoms.items()}
    labels = torch.tensor(phantoms["label"].astype(np.float32))
    epochs = round(EPOCHS.get(method, EPOCHS["unet"]) * max(1, AS_OFTEN / size))
    if method in SIDES:
        side = SIDES[method]
        first, *tested = resized(phantoms["images"], side), resized(held["images"], side), real[side]
    else:
        network = train_unet(phantoms, labels, epochs, seed, method == "unet_outlines")
        tested = held["images"], real["grey"]
    if method.startswith("lite0"):
        scores = logistic(method, phantoms["label"], seed, [first, *tested])
    elif method == "unet_outlines":
        scores = [unet.measure_all(network, grey)["count"].to_numpy(float) for grey in tested]
    elif method == "unet_labels":
        scores = [training.predict(network, pretrain.prepare, torch.from_numpy(grey)[:, None]) for grey in tested]
    else:
        network = taught(method, training.Images(first, labels, torch.ones(size)), side, epochs, seed)
        prepare, engine = partial(architectures.prepare, method), devices.fastest().exact()
        scores = [training.predict(network, prepare, pixels, engine=engine) for pixels in tested]
    return dict(zip(("phantoms", "real"), map(np.asarray, scores), strict=True))


def scored(method: str, size: int, seed: int, *data: dict) -> Scores:
    """Return the scores of a cell from its folder, after training where it is not finished."""
    folder = config.home() / "runs" / "learning-curves" / f"{method}-{size}-s{seed}"
    facts = {"method": method, "size": size, "seed": seed, "code_sha256": code(*CODE), "images": data[-1]["sha256"],
             "precision": devices.fastest().precision, "epochs": EPOCHS, "torch": torch.__version__}  # fmt: skip

    def make() -> dict:
        for name, values in cell(method, size, seed, *data).items():
            write_csv(folder / f"{name}.csv", pd.DataFrame({"score": values}))
        return {}

    _, now = cached(folder, facts, make)
    print(f"{method} {size} seed {seed}: {'trained' if now else 'there'}", flush=True)
    return {name: pd.read_csv(folder / f"{name}.csv").score.to_numpy() for name in ("phantoms", "real")}


def rows(rankings: dict, on: str) -> tuple[list[dict], list[dict]]:
    """Return the AUC of each method and size, and at each size how far outlines are above each other method.

    ``rankings``: by method and size, a list with the pairs of each seed.
    """
    means, differences = [], []
    for (method, size), each in rankings.items():
        facts = {"method": method, "size": size, "on": on}
        means.append(facts | with_seeds(each))
        if method != "unet_outlines":
            differences.append(facts | with_seeds(rankings["unet_outlines", size], each))
    return means, differences


def main() -> None:
    """Train what is missing, test, and write the tables, the figure and the README's block."""
    study, used, grey = real_frames(__doc__)
    shards = partial(training_set.shards, config.home() / "runs" / config.COUNT / "shards")
    phantoms = training_set.load(shards(max(SIZES) // 2, pretrain.PHANTOM_SEED))
    held = training_set.load(shards(HELD_OUT, pretrain.HELD_OUT_SEED))
    files = used.assign(file=used.path, copy=0)
    real = {side: torch.from_numpy(stack(files, study.image_dir, side, study.cache_dir)) for side in {64, 128}}
    real |= {"grey": grey, "sha256": used.sha256.tolist()}
    tested = {"phantoms": pd.DataFrame({"source": range(2 * HELD_OUT), "label": held["label"]}), "real": used}
    rankings = {on: {} for on in tested}
    for seed in SEEDS:  # a run that is stopped has finished whole seeds
        for size in SIZES:
            for method in curves_report.NAMES:
                scores = scored(method, size, seed, phantoms, held, real)
                for on, of in tested.items():
                    rankings[on].setdefault((method, size), []).append(source_pairs(of, scores[on]))
    means, differences = (sum(parts, []) for parts in zip(*(rows(rankings[on], on) for on in tested), strict=True))
    worth = curves_report.worth(rankings["phantoms"], resample(held["label"].astype(int), RESAMPLES))
    for name, table in {"": means, "_differences": differences, "_worth": worth}.items():
        write_csv(OUT / f"learning_curves{name}.csv", pd.DataFrame(table).round(4))
    curves_report.write()


if __name__ == "__main__":
    main()
