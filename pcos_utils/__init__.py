"""A reproducible study of deep learning for polycystic ovarian morphology in ultrasound images.

Its rooms, from the ground: ``config`` and ``files``; ``phantom`` (simulated images); ``data`` and ``audit`` (images to
a table of sources); ``models``, ``follicles`` and ``published`` (pixels to predictions); ``evaluation`` (predictions to
tables); ``reporting`` (tables to sentences, figures and the report); ``serving`` (a model to its users); ``cli``. A
lower room never imports a higher one.
"""

import os
import sys

# Numerical libraries read these once, when they are first imported, so they are set here, before torch or numpy. A
# value that the user has set wins. With two threads the demo's sums are always computed in the same order. Threads that
# wait must not spin while another process computes.
_ENVIRONMENT = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# onnxruntime reports every session to its makers unless this is set before it is loaded; frames are private.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# jsonschema, behind nbformat, compiles a grammar of web addresses for 1.5 s of each start. No notebook needs that
# check, and jsonschema does without it where the package is missing.
sys.modules.setdefault("rfc3987_syntax", None)
