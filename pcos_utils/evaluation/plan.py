"""The plan of a study, written and hashed before anything is trained: what will be measured, and how.

Every run keeps the hash of the plan it was made under. A plan that changes afterwards is written as a new one that
names the old, and the report says so.
"""

import json

from pcos_utils.config import JUDGED, Study
from pcos_utils.evaluation import calibration, comparison, contrast
from pcos_utils.files import sha256, write_json
from pcos_utils.models import counting, counts
from pcos_utils.models.recipes import ARMS, RECIPES, recipe

PRIMARY = "auc"
REFERENCE = "local_contrast"  # the baseline that every network has to beat, named before it was scored
RULES = {
    "unit": "the source picture: mean logit over its images, its inner networks and the repeats",
    "primary_metric": PRIMARY,
    "auc": "over pairs of a polycystic and a normal source that one fold tested together, all folds and repeats alike",
    "secondary_metrics": ["balanced accuracy, recall and specificity at the threshold below and at .5"],
    "intervals": "95 %: exact binomial for shares of sources, else BCa over sources; beside the AUC also DeLong",
    "calibration": "temperature and intercept, fitted on the selection sources of each fold",
    "threshold": f"the highest with a recall of at least {calibration.RECALL} on those same sources",
    "epoch": "ours: lowest loss on the selection sources; published: the last",
    "error_rate": "Holm over the planned comparisons",
    "equivalence": f"differences within {comparison.EQUIVALENT} either way count as equal",
}


def comparisons(study: Study) -> list[tuple[str, str]]:
    """The planned pairs: the count against each network, then each of all against the reference."""
    networks = [name for name in study.models if name != counts.NAME]
    counted = [name for name in study.models if name == counts.NAME]
    return [(one, other) for one in counted for other in networks] + [
        (name, REFERENCE) for name in JUDGED if name in study.models
    ]


def content(study: Study) -> dict:
    """What the plan says: settings, sources, rules, recipes, weights that count and settings of the reference."""
    recipes = {
        f"{model} {arm}": recipe(model, arm, study).model_dump()
        for model in study.models
        for arm in ARMS
        if (model, arm) in RECIPES
    }
    own = {"data", "labels", "allow_cpu"}
    return {
        "study": study.name,
        "settings": json.loads(study.model_dump_json(exclude=own)),
        "sources_sha256": sha256(study.report_dir / "sources.csv"),
        "rules": RULES,
        "recipes": recipes,
        "comparisons": comparisons(study),
        "reference": {"name": REFERENCE, **contrast.CHOSEN._asdict()},
        "count": _count(study) if counts.NAME in study.models else None,
    }


def _count(study: Study) -> dict:
    networks = [sha256(path) for path in counts.networks(study)]
    return {"networks": networks, **counting.SETTINGS}


def write(study: Study) -> dict:
    """The plan, in plan.json. One that says the same is left as it is; else the new one names those before it.

    ``supersedes`` lists the hashes of earlier plans under which results lie.
    """
    planned = json.loads(json.dumps(content(study)))
    path, before = study.plan_path, []
    if path.exists():
        old = json.loads(path.read_text())
        before = old.pop("supersedes", [])
        if old == planned:
            return planned | {"supersedes": before}
        # A plan without results binds nobody: it is replaced, not superseded. Results may have come without their runs.
        scored = (study.report_dir / "tables" / "metrics.csv").exists() or any(study.runs_dir.glob("**/run.json"))
        before = before + [sha256(path)] if scored else before
    write_json(path, planned | {"supersedes": before})
    return planned | {"supersedes": before}


def changed(study: Study) -> int:
    """How many other plans results were made under before this one."""
    digest, records = sha256(study.plan_path), sorted(study.runs_dir.glob("**/run.json"))
    others = {json.loads(path.read_text()).get("plan_sha256") for path in records} - {digest, None}
    return len(others | set(json.loads(study.plan_path.read_text())["supersedes"]))


def sentence(study: Study) -> str:
    """Whether the plan was written before the results that are shown."""
    digest, older = sha256(study.plan_path), changed(study)
    text = f"The plan ({digest[:12]}) was written before anything was trained"
    if older:
        return (
            f"**The plan was changed after results were there** ({older} earlier, now {digest[:12]}): read them as "
            "explored, not as planned."
        )
    return f"{text}, and every result was made under it."
