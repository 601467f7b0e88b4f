"""Which settings should the local-contrast counter take? Chosen on phantoms of its own; no real frame has a say.

    python -m benchmarks.contrast_choice

The best row of the table is ``contrast.CHOSEN``; a test compares the two.
"""

import numpy as np

from pcos_utils import config
from pcos_utils.data import phantom
from pcos_utils.evaluation import contrast
from pcos_utils.files import write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "contrast_choice.csv"
FIRST_SEED = 900_000_000  # far from those of all other phantoms
PER_CLASS = 200


def main() -> None:
    """Prints and writes the AUC of the count under every setting, best first."""
    labels = np.arange(2 * PER_CLASS) % 2
    images = (phantom.simulate(FIRST_SEED + number, label).image for number, label in enumerate(labels.tolist()))
    table = contrast.choose(images, labels)
    write_csv(OUT, table.assign(phantoms=len(labels), first_seed=FIRST_SEED, version=phantom.VERSION))
    print(table.head(12).to_string(index=False))


if __name__ == "__main__":
    main()
