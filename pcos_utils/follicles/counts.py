"""Count the follicles in every image of a study. No label of the study is used."""

import numpy as np
import pandas as pd

from pcos_utils.config import COUNT, Study
from pcos_utils.data import images, manifest
from pcos_utils.files import cached, code, sha256, write_csv
from pcos_utils.follicles import counting, kept, network

WHOSE = ["path", "source", "label"]
CODE = (*images.CODE, *(f"follicles/{name}.py" for name in ("counting", "counts", "network")))


def run(study: Study) -> pd.DataFrame:
    """Return one row per used image and network: path, source, label, network and ``counting.COLUMNS``.

    The table is read if the same networks have counted the same images before. Raises StudyError if an image has
    changed or weights cannot be used.
    """
    used = manifest.used(study)
    manifest.need_unchanged(used.rename(columns={"path": "file"}), study.image_dir)
    files, folder = kept.networks(study), study.runs_dir / COUNT
    settings = {
        "networks": {f"{path.parent.name}/{path.name}": sha256(path) for path in files},
        **counting.SETTINGS, "images": used.sha256.tolist(), "plan_sha256": sha256(study.plan_path),
        "paths": used.path.tolist(), "sources": used.source.tolist(), "labels": used.label.tolist(),
        "code_sha256": code(*CODE),
    }  # fmt: skip

    def make() -> dict:
        """Count, write counts.csv and return what the record keeps of the study."""
        grey = np.stack([images.grey(images.load(study.image_dir / path)) for path in used.path])
        tables = {path.parent.name: network.measure_all(network.load(path), grey) for path in files}
        parts = [used[WHOSE].assign(network=name).join(counted) for name, counted in tables.items()]
        write_csv(folder / "counts.csv", pd.concat(parts, ignore_index=True))
        drawn = sha256(study.report_dir / "sources.csv")
        return {"study": study.settings, "taught": kept.taught(files), "sources_sha256": drawn}

    cached(folder, settings, make)
    return pd.read_csv(folder / "counts.csv")
