"""Conda's package names beside PyPI's: renamed, not needed, or without a twin.

A name in none of these tables is the same project on both sides. Sources: the feedstocks of conda-forge and the
projects' own installation pages.
"""

from __future__ import annotations

RENAMED = {
    "_py-xgboost": "xgboost",
    "dask-core": "dask",
    "distributed-core": "distributed",
    "faiss": "faiss-cpu",
    "keras-gpu": "keras",
    "lightgbm-base": "lightgbm",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pyarrow-core": "pyarrow",
    "pyqt": "pyqt5",
    "pytables": "tables",
    "python-blosc": "blosc",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-kubernetes": "kubernetes",
    "python-tzdata": "tzdata",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel_yaml": "ruamel.yaml",
    "seaborn-base": "seaborn",
    "snappy-python": "python-snappy",
    "spacy-base": "spacy",
    "tensorflow-base": "tensorflow",
    "tensorflow-eigen": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision",
    "torchaudio-cpu": "torchaudio",
    "xgboost-cpu": "xgboost",
    "xgboost-gpu": "xgboost",
}

# Projects whose PyPI versions carry one number more than conda's (4.5.5 is 4.5.5.64 there).
REBUILT = frozenset({"opencv-python", "opencv-python-headless"})

# Wheels are complete in themselves: what conda splits off (the interpreter's own libraries, the choice of a BLAS, image
# codecs) comes with Python or inside the wheel that uses it.
DROPPED = frozenset(
    [
        "_libgcc_mutex",
        "_openmp_mutex",
        "_py-xgboost-mutex",
        "_tflow_select",
        "blas",
        "blas-devel",
        "bzip2",
        "ca-certificates",
        "cpuonly",
        "expat",
        "freetype",
        "giflib",
        "jpeg",
        "lcms2",
        "ld_impl_linux-64",
        "lerc",
        "libblas",
        "libcblas",
        "libdeflate",
        "libffi",
        "libgcc",
        "libgcc-ng",
        "libgfortran",
        "libgfortran-ng",
        "libgfortran4",
        "libgfortran5",
        "libjpeg-turbo",
        "liblapack",
        "libnsl",
        "libopenblas",
        "libpng",
        "libsqlite",
        "libstdcxx",
        "libstdcxx-ng",
        "libtiff",
        "libuuid",
        "libwebp",
        "libwebp-base",
        "libxcb",
        "libxcrypt",
        "libxgboost",
        "libzlib",
        "lz4-c",
        "mkl",
        "mkl-service",
        "mkl_fft",
        "mkl_random",
        "ncurses",
        "nomkl",
        "numpy-base",
        "openblas",
        "openjpeg",
        "openssl",
        "pip",
        "pthread-stubs",
        "python_abi",
        "pytorch-mutex",
        "readline",
        "sqlite",
        "tensorflow-estimator-cpu",
        "tk",
        "tzdata",
        "xz",
        "zlib",
        "zstd",
    ]
)

_SYSTEM = "it is a system library or program: PyPI has none, the machine or the base image must bring it"
_CUDA = "it is a GPU library: wheels of torch and tensorflow bring their own, or the base image does"
_R = "it is for R, which this runtime does not run"

NO_TWIN = {
    "binutils": _SYSTEM,
    "boost": _SYSTEM,
    "boost-cpp": _SYSTEM,
    "bzip2-devel": _SYSTEM,
    "compilers": _SYSTEM,
    "cudatoolkit": _CUDA,
    "cudnn": _CUDA,
    "curl": _SYSTEM,
    "ffmpeg": _SYSTEM,
    "gcc": _SYSTEM,
    "gdal": _SYSTEM,
    "geos": _SYSTEM,
    "git": _SYSTEM,
    "glib": _SYSTEM,
    "graphviz": _SYSTEM,
    "gxx": _SYSTEM,
    "hdf5": _SYSTEM,
    "icu": _SYSTEM,
    "java": _SYSTEM,
    "krb5": _SYSTEM,
    "llvm-openmp": _SYSTEM,
    "make": _SYSTEM,
    "nccl": _CUDA,
    "nodejs": _SYSTEM,
    "openjdk": _SYSTEM,
    "openmpi": _SYSTEM,
    "poppler": _SYSTEM,
    "proj": _SYSTEM,
    "r": _R,
    "r-base": _R,
    "snappy": _SYSTEM,
    "sox": _SYSTEM,
    "swig": _SYSTEM,
    "tesseract": _SYSTEM,
    "unixodbc": _SYSTEM,
}

# Python projects whose names only look like those of C libraries.
_PYTHON_LIBS = frozenset(
    {"libclang", "libcst", "libpysal", "librosa", "libsass", "libsvm", "libsvm-official", "libtmux"}
)


def no_twin(name: str) -> str | None:
    """Why a conda package cannot come from PyPI, or None if it can."""
    if reason := NO_TWIN.get(name):
        return reason
    if name.startswith("r-"):
        return _R
    if name.startswith(("cuda-", "libcu", "libnccl", "libnv")) or name == "cuda":
        return _CUDA
    if name.startswith("_") or name.endswith(("_linux-64", "-cos6-x86_64", "-devel")):
        return _SYSTEM
    if name.startswith("lib") and name not in _PYTHON_LIBS:
        return _SYSTEM
    return None
