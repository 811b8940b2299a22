"""Which variables of the agent's environment a worker gets: a list of what it needs, so that nothing secret is on it.

Decides: the names. Leaves out: the values that the agent itself sets (`agent/child.py`).

>>> scrubbed({"PATH": "/bin", "THRESHER_AGENT_BROKER_PASSWORD": "x"})
{'PATH': '/bin'}
"""

from collections.abc import Mapping

NAMES = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME"}
    | {"CC", "CFLAGS", "CPATH", "LDFLAGS", "LIBRARY_PATH", "SOURCE_DATE_EPOCH"}  # kernels are compiled with these
    | {"SSL_CERT_DIR", "SSL_CERT_FILE"}  # a webhook's server is checked against these
    | {"COLUMNS", "NO_COLOR", "TERM"}
)
PREFIXES = (
    *("LC_", "PYTHON", "VIRTUAL_ENV"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "NUMBA_", "NUMEXPR_", "BLIS_"),
    *("ORT_", "TF_", "XNNPACK_", "CUDA_", "NVIDIA_", "GST_", "OPENCV_"),
)
SECRETS = ("PASSWORD", "PASSWD", "TOKEN", "SECRET", "CREDENTIAL", "PRIVATE_KEY", "API_KEY")
"""A name that holds one of these is never passed on, whatever it begins with."""


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environment` that a worker may have."""
    return {name: value for name, value in environment.items() if _is_wanted(name)}


def _is_wanted(name: str) -> bool:
    return (name in NAMES or name.startswith(PREFIXES)) and not any(word in name.upper() for word in SECRETS)
