"""Metrics that a reader at the bedside asks for: predictive values, calibration, net benefit; for weighted images.

Sources: predictive values from Bayes' rule; logistic recalibration, Cox 1958 and Van Calster et al. 2019; net benefit,
Vickers and Elkin 2006. Shapes and the optional decision ``called`` as in ``metrics.py``. Undefined values are NaN, a
likelihood ratio over zero is infinite.
"""

import numpy as np

from pcos_utils.evaluation.metrics import confusion, weight_by_score

PREVALENCES = (0.05, 0.10, 0.26, 0.50)  # screening, general practice, these data, a clinic for infertility
THRESHOLDS = (0.10, 0.20, 0.30, 0.40)  # of probability, at which net benefit is told
BINS = 5  # of the calibration error: 54 sources leave eleven to a bin
STEPS = 60  # of Newton's method

AT_A_DECISION = {"lr_plus": "LR+", "lr_minus": "LR-"}
AT_A_DECISION |= {f"ppv_{p:.2f}": f"PPV at prevalence {p:.0%}" for p in PREVALENCES}
AT_A_DECISION |= {f"npv_{p:.2f}": f"NPV at prevalence {p:.0%}" for p in PREVALENCES}
OF_PROBABILITIES = {
    "prevalence": "prevalence (line of average precision)",
    "brier_baseline": "Brier score of the prevalence",
    "brier_skill": "Brier skill",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "calibration_in_the_large": "calibration in the large (slope 1)",
    "ece": f"calibration error, {BINS} bins of equal count",
}
OF_PROBABILITIES |= {f"net_benefit_{t:.2f}": f"net benefit at {t:.0%}" for t in THRESHOLDS}
OF_PROBABILITIES |= {f"treat_all_{t:.2f}": f"net benefit of calling all, at {t:.0%}" for t in THRESHOLDS}
CLINICAL = AT_A_DECISION | OF_PROBABILITIES


def clinical_metrics(y_true, y_prob, weights, called=None) -> dict[str, np.ndarray]:
    """Every metric of ``CLINICAL``, by its key."""
    tp, fn, fp, tn = confusion(y_true, y_prob, weights, called)
    made = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, specificity = tp / (tp + fn), tn / (tn + fp)
        made["lr_plus"], made["lr_minus"] = recall / (1 - specificity), (1 - recall) / specificity
        for p in PREVALENCES:
            made[f"ppv_{p:.2f}"], made[f"npv_{p:.2f}"] = predictive_values(recall, specificity, p)
        prevalence = (tp + fn) / weights.sum(-1)
        brier = (weights * (y_prob - y_true) ** 2).sum(-1) / weights.sum(-1)
        baseline = prevalence * (1 - prevalence)
        made |= {"prevalence": prevalence, "brier_baseline": baseline, "brier_skill": 1 - brier / baseline}
    made["calibration_intercept"], made["calibration_slope"] = recalibration(y_true, y_prob, weights)
    made["calibration_in_the_large"] = recalibration(y_true, y_prob, weights, slope=False)[0]
    made["ece"] = calibration_error(y_true, y_prob, weights)
    benefit, everyone = net_benefit(y_true, y_prob, weights, THRESHOLDS), treat_all(y_true, weights, THRESHOLDS)
    for i, t in enumerate(THRESHOLDS):
        made[f"net_benefit_{t:.2f}"], made[f"treat_all_{t:.2f}"] = benefit[..., i], everyone[..., i]
    return made


def predictive_values(recall, specificity, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """PPV and NPV where a share ``prevalence`` of the people is positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, false = recall * prevalence, (1 - specificity) * (1 - prevalence)
        cleared, missed = specificity * (1 - prevalence), (1 - recall) * prevalence
        return hit / (hit + false), cleared / (cleared + missed)


def recalibration(y_true, y_prob, weights, *, slope: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the logistic regression of the label on the logit; NaN where the classes are separated.

    Without ``slope`` it is held at 1, and the intercept is the calibration in the large.
    """
    x = np.log(np.clip(y_prob, 1e-9, 1 - 1e-9) / np.clip(1 - y_prob, 1e-9, 1))
    scale = x.std() if slope and x.std() > 0 else 1.0  # Newton's steps are tame on a standardised logit
    x = x / scale
    a, b = np.zeros(weights.shape[:-1]), np.full(weights.shape[:-1], 0.0 if slope else 1.0)
    total = weights.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(STEPS):
            p = 1 / (1 + np.exp(-np.clip(a[..., None] + b[..., None] * x, -500, 500)))
            miss, curve = weights * (y_true - p), weights * p * (1 - p)
            g0, g1, h00 = miss.sum(-1), miss @ x, curve.sum(-1)
            if slope:
                h01, h11 = curve @ x, curve @ x**2
                determinant = h00 * h11 - h01**2
                da, db = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
            else:
                da, db, g1 = g0 / h00, np.zeros_like(b), 0.0
            # A full step can overshoot where few sources decide.
            short = 2 / np.maximum(2, np.maximum(np.abs(da), np.abs(db)))
            a, b = a + short * da, b + short * db
            if not np.any(np.abs(np.stack([da, db])) > 1e-10):
                break
        # Separated classes have no maximum: the steps go on, or the curvature is gone.
        found = (np.abs(da) < 1e-6) & (np.abs(db) < 1e-6) & (np.abs(b) < 30) & (h00 > 1e-6 * total)
    return np.where(found, a, np.nan), np.where(found, b / scale if slope else b, np.nan)


def calibration_error(y_true, y_prob, weights, bins: int = BINS) -> np.ndarray:
    """Mean distance of observed share and mean probability over bins of equal count; equal scores share a bin."""
    positives, negatives = weight_by_score(y_true, y_prob, weights)
    scores, held = np.unique(y_prob), positives + negatives
    total = held.sum(-1, keepdims=True)
    bin_of = np.minimum((bins * (held.cumsum(-1) - held / 2) / total).astype(int), bins - 1)
    gap = positives - held * scores
    return sum(np.abs(np.where(bin_of == i, gap, 0).sum(-1)) for i in range(bins)) / total[..., 0]


def net_benefit(y_true, y_prob, weights, thresholds) -> np.ndarray:
    """True positives less the false ones at the threshold's odds, per image: shape (..., thresholds)."""
    t = np.asarray(thresholds, float)
    called = y_prob[:, None] >= t
    gain = np.where(y_true[:, None] == 1, 1.0, -t / (1 - t)) * called
    return weights @ gain / weights.sum(-1)[..., None]


def treat_all(y_true, weights, thresholds) -> np.ndarray:
    """Net benefit of calling everybody polycystic, shape (..., thresholds); of calling nobody it is 0."""
    return net_benefit(y_true, np.ones(len(y_true)), weights, thresholds)
