"""An honest study of deep learning for polycystic ovarian morphology: images flow one way through four rooms.

``data`` (images on disk to a table of sources), ``models`` (pixels to weights), ``evaluation`` (predictions to
evidence) and ``serving`` (a chosen model to a person). A lower room never imports a higher one.
"""

import os

# Numerical libraries read these once, when they are first imported, so they are set here, before torch or numpy.
# Two threads and one instruction set make the demo's sums run in the same order on every x86-64 processor of the
# last ten years; a value that the user has set wins.
for _name, _value in {
    "OMP_NUM_THREADS": "2",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}.items():
    os.environ.setdefault(_name, _value)
# onnxruntime tells its makers of every session unless this is set before it is loaded; a frame is nobody's business.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
