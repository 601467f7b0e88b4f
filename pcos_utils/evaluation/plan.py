"""Write the plan of a study before anything is trained: what will be measured, and how.

Every run keeps the hash of the plan it was made under. A plan that changes afterwards names the old one, and the report
says so.
"""

import json

from pcos_utils.config import COUNT, FEATURES, JUDGED, TUNED, Study
from pcos_utils.evaluation import calibration, comparison, image_measures
from pcos_utils.evaluation.baselines import REFERENCE
from pcos_utils.evaluation.intervals import RESAMPLES
from pcos_utils.files import read_record, sha256, write_json
from pcos_utils.follicles import counting, kept
from pcos_utils.models.recipes import ARMS, RECIPES, recipe

RULES = {
    "unit": "the source picture; a network decides on it alone, by the mean logit of its images, and what is reported "
    "is the mean over the networks of all repeats and inner parts",
    "primary_metric": "auc",
    "auc": "over pairs of a polycystic and a normal source that one network tested; of a score that nothing was "
    "fitted to, over all pairs",
    "secondary_metrics": ["recall, specificity, precision and accuracy at the threshold below"],
    "intervals": f"95 %: {RESAMPLES:,} BCa resamples of sources within class, for what was trained with the variance "
    "doubled; shares of sources exact, or Korn and Graubard's where several networks decide",
    "better_than_chance": "one-sided p of at most .025, by training again on dealt labels where that was done, else "
    "by the doubled variance, and by permutation where nothing was fitted; and the interval leaves out .5 under each "
    f"of {comparison.SEEDS} resampling seeds",
    "calibration": "slope and intercept, fitted on the selection sources of each fold; told where the method is "
    "shown to beat chance, within folds",
    "threshold": f"the highest with a recall of at least {calibration.RECALL} on those same sources",
    "epoch": "ours: lowest loss on the selection sources; published: the last",
    "comparisons": "DeLong's p over the same pairs, with the doubled variance of what was trained; one family of "
    "Holm's for all of them",
}


def comparisons(study: Study) -> list[tuple[str, str]]:
    """Return the planned pairs: the count against each network, all of these against the reference, and then what
    everyday photographs and phantoms are worth to one and the same network."""
    against_count = [(COUNT, name) for name in study.models if name != COUNT] if COUNT in study.models else []
    # Notebook 3 reads the features and notebook 5 fine-tunes; each is left out with its network.
    taught = [(name, f"{name}_random") for name in FEATURES if f"{name}_random" in FEATURES]
    taught = taught * ("densenet201" in study.models) + [(TUNED, "iustnet")] * ("iustnet" in study.models)
    return against_count + [(name, REFERENCE) for name in JUDGED if name in study.models] + taught


def content(study: Study) -> dict:
    """Return the plan: settings, sources, rules, recipes, comparisons, and what decides the reference and the count."""
    trained = [(model, arm) for model in study.models for arm in ARMS if (model, arm) in RECIPES]
    recipes = {f"{model} {arm}": recipe(model, arm, study).model_dump() for model, arm in trained}
    networks = [sha256(path) for path in kept.networks(study)] if COUNT in study.models else []
    return {
        "study": study.name,
        "settings": json.loads(study.model_dump_json(exclude={"data", "labels", "allow_cpu"})),
        "sources_sha256": sha256(study.report_dir / "sources.csv"),
        "rules": RULES,
        "recipes": recipes,
        "comparisons": comparisons(study),
        "reference": {"name": REFERENCE, **image_measures.CONTRAST},
        "count": {"networks": networks, **counting.SETTINGS} if COUNT in study.models else None,
    }


def write(study: Study) -> dict:
    """Write the plan to plan.json and return it. A file that says the same is left as it is.

    A changed plan names in ``supersedes`` the hashes of earlier plans of the same seed under which results lie.
    """
    planned, path = json.loads(json.dumps(content(study))), study.plan_path
    old = json.loads(path.read_text()) if path.exists() else {}
    before = old.pop("supersedes", [])
    if old != planned:
        if old.get("settings", {}).get("seed") != study.seed:
            before = []
        # A plan without results binds nobody: it is replaced, not superseded. Results may have come without their runs.
        elif (study.report_dir / "tables" / "metrics.csv").exists() or _records(study):
            before.append(sha256(path))
        write_json(path, planned | {"supersedes": before})
    return planned | {"supersedes": before}


def _records(study: Study) -> list[dict]:
    records = [read_record(path.parent) for path in sorted(study.runs_dir.glob("**/run.json"))]
    return [record for record in records if record.get("study", {}).get("seed") == study.seed]


def changed(study: Study) -> tuple[str, int]:
    """Return the plan's hash, and under how many other plans results of this seed were made before it."""
    digest = sha256(study.plan_path)
    others = {record.get("plan_sha256") for record in _records(study)} - {digest, None}
    return digest, len(others | set(json.loads(study.plan_path.read_text())["supersedes"]))
