"""The model card that goes with a served model, every number of it from model.json. Mitchell et al. 2019."""

TEMPLATE = """# {model} on {data}: model card

> **{caveat}**

**Details.** Study `{study}`, run `{run}`, images stretched to {side} x {side} pixels; {how}. The follicles are outlined
by a network that phantoms taught (`{outline}`).

**Intended use.** Research and teaching: to see what such a network answers, how sure it may be, and where it refuses.
**Not for** diagnosis, screening, triage or any decision about a person.

**Factors.** One frame at a time; grey B-mode; frames unlike the phantoms are refused.

**Metrics.** Held-out sources: {normal} normal, {polycystic} polycystic; AUC {auc:.2f}. The probability is calibrated on
them (slope {slope:.2f}, intercept {intercept:.2f}); its 95 % interval comes from {resamples} resamples of sources.

**Decision.** Polycystic from a probability of {threshold:.2f} on, the highest threshold that calls {recall} % of the
polycystic held-out sources. Where neither class can be ruled out at {confidence} % confidence: "cannot say".

**Refusals.** Beyond a distance of {limit:.2f} from {usual} phantoms, set on {held} others, a picture counts as no
ovarian scan; of {tried} phantoms that set nothing {refused:.1f} % were refused by mistake. Threshold and interval rest
on the same held-out sources, so both are a little kinder than new sources will be.

**Training and evaluation data.** {data}; splits and intervals by source picture, never by copy.

**Ethics.** Pictures are answered in memory and not kept. Labels show morphology (PCOM); the syndrome (PCOS) needs
clinic and laboratory.

**Caveats.** The interval counts the sources behind the calibration, not the choice of network or the next hospital.
"""


def card(made: dict) -> str:
    """The card as Markdown, of a model.json's content."""
    epochs = made["epochs"]
    how = (
        f"trained on all sources for {epochs} epochs" if epochs else "the count of follicles, trained on phantoms alone"
    )
    usual, held, tried = made["suitability"]["phantoms"]
    return TEMPLATE.format(
        **{name: made[name] for name in ("model", "data", "caveat", "study", "run", "side", "auc", "threshold")},
        **made["calibration"], **made["sources"], how=how, outline=made["outline_sha256"][:12],
        resamples=made["interval"]["resamples"], recall=round(100 * made["target_recall"]),
        confidence=round(100 - 100 * made["conformal"]["alpha"]), limit=made["suitability"]["limit"],
        refused=100 * made["suitability"]["false_refusals"], usual=usual, held=held, tried=tried,
    )  # fmt: skip
