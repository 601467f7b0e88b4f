"""Record what the audit finds in public data sets, as numbers: no picture, and no file name except for conflicts.

python -m studies.audit_public FOLDER [FOLDER ...]
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from pcos_utils.audit.sources import find_sources
from pcos_utils.data.survey import survey
from pcos_utils.files import write_json
from pcos_utils.reporting import audit
from studies import HERE

PARTS = ("verdict", "summary", "splits", "effective_size", "unreadable", "shortcuts", "reading")


def main() -> None:
    """Write ``audit_public.json`` beside this file: PARTS of each folder's audit, and a digest of its files.

    ``two_labels`` holds the findings of pictures in two classes.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    audits = {}
    for folder in parser.parse_args().folders:
        sources = find_sources(survey(folder), folder)
        with tempfile.TemporaryDirectory() as place:
            content = audit.write(sources, folder, Path(place))
        digest = hashlib.sha256("\n".join(sorted(sources.sha256.fillna(""))).encode()).hexdigest()
        audits[folder.name] = {"provenance": f"SHA-256 of the sorted digests: {digest}"}
        audits[folder.name] |= {name: content[name] for name in PARTS}
        audits[folder.name]["two_labels"] = [row for row in content["findings"] if row["finding"] == "class"]
        print(json.dumps(content["summary"], indent=1), content["verdict"])
    write_json(HERE / "audit_public.json", audits)


if __name__ == "__main__":
    main()
