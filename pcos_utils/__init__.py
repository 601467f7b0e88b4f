"""An honest study of deep learning for polycystic ovarian morphology: images flow one way through four rooms.

``data`` (images on disk to a table of sources), ``models`` (pixels to weights), ``evaluation`` (predictions to
evidence) and ``serving`` (a chosen model to a person). A lower room never imports a higher one.
"""

import os

# Numerical libraries read these once, when they are first imported, so they are set here, before torch or numpy, and
# in the Makefile for those that import numpy first. A value that the user has set wins. Two threads make the demo's
# sums run in the same order. Without numpy's functions for AVX-512, whose exponentials round differently, a seed draws
# the same phantoms, to the bit, on every x86-64 processor of the last ten years.
for _name, _value in {
    "OMP_NUM_THREADS": "2",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}.items():
    os.environ.setdefault(_name, _value)
# onnxruntime tells its makers of every session unless this is set before it is loaded; a frame is nobody's business.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
