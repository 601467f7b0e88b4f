"""What the audit finds in the public data sets, kept as numbers: no picture, and no file name but of conflicts.

python -m benchmarks.audit_public FOLDER [FOLDER ...]
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from pcos_utils.data import audit, manifest
from pcos_utils.evaluation import audit_report
from pcos_utils.files import write_json

KEPT = ("verdict", "summary", "two_labels", "effective_size", "unreadable", "shortcuts", "reading")


def main() -> None:
    """``audit_public.json`` beside this file: per folder what KEPT names, and a digest of the files' digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    made = {}
    for folder in parser.parse_args().folders:
        sources = audit.find_sources(manifest.scan(folder, every=True), folder)
        with tempfile.TemporaryDirectory() as place:
            content = audit_report.write(sources, {folder.name: folder}, Path(place))
        files = "\n".join(sorted(sources.sha256.fillna(""))).encode()
        made[folder.name] = {"provenance": f"SHA-256 of the sorted digests: {hashlib.sha256(files).hexdigest()}"}
        made[folder.name] |= {name: content[name] for name in KEPT}
        print(json.dumps(made[folder.name]["summary"], indent=1), content["verdict"])
    write_json(Path(__file__).with_suffix(".json"), made)


if __name__ == "__main__":
    main()
