"""Ask what is learned from labels, from outlines and from everyday photographs, at the same number of phantoms.

    python -m studies.learning_curves FOLDER     a study whose notebook 02 was run (full); trains what is missing

Every method learns from the same first 100, 300, 1,000 or 3,000 phantoms, and keeps its last epoch, so that no other
picture chooses anything. Small sets are shown as often as 600 would be. Tested are 1,000 phantoms that none has
seen, and the study's sources, on which nothing was trained. The seeds draw weights, order and changes; for frozen
features with ImageNet weights they draw the parts of the cross-validation alone.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.swa_utils import update_bn

from pcos_utils import config
from pcos_utils.config import COUNT
from pcos_utils.data.pixels import stack
from pcos_utils.evaluation import auc
from pcos_utils.evaluation.intervals import resample
from pcos_utils.files import cached, code, write_csv
from pcos_utils.follicles import network as unet
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.follicles.labels import resized, taught
from pcos_utils.models import architectures, devices, frozen, training, weights
from pcos_utils.models.recipes import FOLLICLES
from studies import OUT, arguments, curves_report, frames, source_pairs

# The modules whose code decides a cell.
CODE = (
    "../studies/learning_curves.py",
    *training_set.CODE,
    *(f"follicles/{name}.py" for name in ("counting", "labels", "network", "pretrain")),
    *(f"models/{name}.py" for name in ("architectures", "devices", "frozen", "training")),
)
SIZES, SEEDS, HELD_OUT = (100, 300, 1000, 3000), (0, 1, 2), 500  # held out of each class
AS_OFTEN = 600  # phantoms; fewer are shown for more epochs
SIDES = {"iustnet": 64, "densenet121d": 64, "efficientnet_lite0": 128}  # px
EPOCHS = {"iustnet": 12, "densenet121d": 4, "unet": 4}  # limited by the hours that two cores need
METHODS = tuple(curves_report.NAMES)
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


def train_unet(phantoms: dict, size: int, seed: int, outlines: bool) -> nn.Module:
    """Return the U-Net after its training by outlines, or by the labels alone."""
    torch.manual_seed(seed)
    network = unet.UNet() if outlines else LabelUNet()
    pixels = torch.from_numpy(phantoms["images"][:size])[:, None]
    first = {name: phantoms[name][:size] for name in unet.MASKS}
    truth = unet.targets(first) if outlines else torch.tensor(phantoms["label"][:size].astype(np.float32))
    change = pretrain.jitter if outlines else lambda x, y, generator: (pretrain.jitter(x, x, generator)[0], y)
    loss = {"loss": unet.segmentation_loss} if outlines else {}
    train = training.Images(pixels, truth, torch.ones(size))
    recipe = FOLLICLES.model_copy(update={"epochs": epochs("unet", size)})
    training.fit(network, pretrain.prepare, train, None, recipe, seed=seed, engine=devices.fastest(),
                 change=change, **loss)  # fmt: skip
    return network.eval()


def train_network(model: str, phantoms: dict, size: int, seed: int) -> nn.Module:
    """Return IustNet or DenseNet121d after its training by labels, from random weights."""
    labels = torch.tensor(phantoms["label"][:size].astype(np.float32))
    train = training.Images(resized(phantoms["images"][:size], SIDES[model]), labels, torch.ones(size))
    return taught(model, train, SIDES[model], epochs(model, size), seed)


def lite0_features(start: str, seed: int, sets: list[torch.Tensor]) -> list[np.ndarray]:
    """Return EfficientNet-Lite0's 1,280 frozen features of each set of images; random weights are of a seed."""
    model, engine = "efficientnet_lite0", devices.fastest().exact()
    torch.manual_seed(seed)
    network, prepare = architectures.build(model), partial(architectures.prepare, model)
    weights.start(network, model, start, must_fetch=True)
    if start == "none":  # batch norm needs statistics, which ImageNet's weights bring along
        update_bn(map(prepare, sets[0][:256].split(64)), network)
    return [frozen.extract(network, prepare, pixels, engine)[:, 0].numpy() for pixels in sets]


def logistic(features: np.ndarray, labels: np.ndarray, seed: int):
    """Return a logistic regression on standardised features; its strength is chosen among the phantoms that teach."""
    parts = StratifiedKFold(5, shuffle=True, random_state=seed)
    fitted = LogisticRegressionCV(
        Cs=np.logspace(-5, 0, 6), cv=parts, scoring="roc_auc", l1_ratios=(0,), use_legacy_attributes=False, max_iter=500
    )
    return make_pipeline(StandardScaler(), fitted).fit(features, labels)


def epochs(name: str, size: int) -> int:
    """Return for how many epochs a set is shown."""
    return round(EPOCHS[name] * max(1, AS_OFTEN / size))


def cell(method: str, size: int, seed: int, phantoms: dict, held: dict, real: dict) -> Scores:
    """Return the scores of one method after one training. ``real``: the study's images, grey and resized."""
    if method.startswith("unet"):
        network = train_unet(phantoms, size, seed, method == "unet_outlines")
        if method == "unet_outlines":
            of = lambda grey: unet.measure_all(network, grey)["count"].to_numpy(float)  # noqa: E731
        else:
            of = lambda grey: training.predict(network, pretrain.prepare, torch.from_numpy(grey)[:, None]).numpy()  # noqa: E731
        return {"phantoms": of(held["images"]), "real": of(real["grey"])}
    if method.startswith("lite0"):
        side = SIDES["efficientnet_lite0"]
        sets = [resized(phantoms["images"][:size], side), resized(held["images"], side), real[side]]
        of_train, of_held, of_real = lite0_features("imagenet" if method == "lite0_imagenet" else "none", seed, sets)
        fitted = logistic(of_train, phantoms["label"][:size], seed)
        return {"phantoms": fitted.decision_function(of_held), "real": fitted.decision_function(of_real)}
    network, side = train_network(method, phantoms, size, seed), SIDES[method]
    prepare, engine = partial(architectures.prepare, method), devices.fastest().exact()
    of = lambda pixels: training.predict(network, prepare, pixels, engine=engine).numpy()  # noqa: E731
    return {"phantoms": of(resized(held["images"], side)), "real": of(real[side])}


def scored(method: str, size: int, seed: int, *data: dict) -> Scores:
    """Return the scores of a cell from its folder, after training where it is not finished."""
    folder = config.home() / "runs" / "learning-curves" / f"{method}-{size}-s{seed}"
    facts = {"method": method, "size": size, "seed": seed, "code_sha256": code(*CODE), "images": data[-1]["sha256"],
             "precision": devices.fastest().precision, "epochs": EPOCHS, "torch": torch.__version__}  # fmt: skip

    def make() -> dict:
        """Train, and write the scores."""
        for name, values in cell(method, size, seed, *data).items():
            write_csv(folder / f"{name}.csv", pd.DataFrame({"score": values}))
        return {}

    _, now = cached(folder, facts, make)
    print(f"{method} {size} seed {seed}: {'trained' if now else 'there'}", flush=True)
    return {name: pd.read_csv(folder / f"{name}.csv").score.to_numpy() for name in ("phantoms", "real")}


def rows(rankings: dict, on: str) -> tuple[list[dict], list[dict]]:
    """Return the AUC of each method and size, and at each size how far outlines are above each other method.

    ``rankings``: by method and size, a list with the pairs of each seed. The interval holds the variance over the
    sources by DeLong, of the mean over seeds, and that between the seeds with Student's quantile.
    """
    means, differences = [], []
    for (method, size), each in rankings.items():
        facts = {"method": method, "size": size, "on": on, "seeds": len(each), "sources": len(each[0].label)}
        means.append(facts | with_seeds(each, None))
        if method != "unet_outlines":
            differences.append(facts | with_seeds(rankings["unet_outlines", size], each))
    return means, differences


def with_seeds(first: list[auc.Pairs], second: list[auc.Pairs] | None) -> dict:
    """Return the mean AUC over seeds, or that of the differences to ``second``, with its interval as in ``rows``."""
    values, table = auc.covariance([*first, *(second or [])])
    n = len(first)
    signs = np.concatenate([np.ones(n), -np.ones(len(values) - n)]) / n
    each = values[:n] - (values[n:] if second else 0)
    over_seeds = each.var(ddof=1) / n if n > 1 else np.nan
    z, t = stats.norm.ppf(0.975), stats.t.ppf(0.975, n - 1)
    half, value = float(np.sqrt(z**2 * signs @ table @ signs + t**2 * over_seeds)), float(each.mean())
    ends = (value - half, value + half) if second else (max(0.0, value - half), min(1.0, value + half))
    return {"value": value, "low": ends[0], "high": ends[1], "sd_seeds": float(each.std(ddof=1)) if n > 1 else np.nan}


def main() -> None:
    """Train what is missing, test, and write the tables, the figure and the README's block."""
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True, weights="none")
    shards = partial(training_set.shards, config.home() / "runs" / COUNT / "shards")
    phantoms = training_set.load(shards(max(SIZES) // 2, pretrain.PHANTOM_SEED))
    held = training_set.load(shards(HELD_OUT, pretrain.HELD_OUT_SEED))
    used, grey = frames(study)
    rows_of = used.assign(file=used.path, copy=0)
    real = {side: torch.from_numpy(stack(rows_of, study.image_dir, side, study.cache_dir)) for side in {64, 128}}
    real |= {"grey": grey, "sha256": used.sha256.tolist()}
    tested = {
        "phantoms": pd.DataFrame({"source": range(len(held["label"])), "label": held["label"]}),
        "real": used,
    }
    rankings = {on: {} for on in tested}
    for seed in SEEDS:  # a run that is stopped has finished whole seeds
        for size in SIZES:
            for method in METHODS:
                scores = scored(method, size, seed, phantoms, held, real)
                for on, of in tested.items():
                    rankings[on].setdefault((method, size), []).append(source_pairs(of, scores[on]))
    means, differences = (sum(parts, []) for parts in zip(*(rows(rankings[on], on) for on in tested), strict=True))
    worth = pd.DataFrame(curves_report.worth(rankings["phantoms"], resample(held["label"].astype(int), RESAMPLES)))
    tables = {"": pd.DataFrame(means), "_differences": pd.DataFrame(differences), "_worth": worth}
    for name, table in tables.items():
        write_csv(OUT / f"learning_curves{name}.csv", table.round(4))
    curves_report.write()


if __name__ == "__main__":
    main()
