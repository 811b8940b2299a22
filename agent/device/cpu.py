"""What the processor is: its name, and the instruction sets that decide which variants are fast on it.

Decides: which flags matter to a class of devices. Leaves out: measuring. Reads `/proc/cpuinfo` and the device tree.
"""

from pathlib import Path

from wire.canonical import sha256_hex

X86_FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
ARM_FLAGS = ("neon", "asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
_MODEL_FILES = ("sys/firmware/devicetree/base/model", "proc/device-tree/model")
_NAME_KEYS = ("model name", "Model", "Hardware", "cpu model", "Processor")


def read_cpuinfo(root: Path = Path("/")) -> dict[str, str]:
    """Return the keys of `/proc/cpuinfo`, each with its first value; empty where there is no such file."""
    found: dict[str, str] = {}
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        key, colon, content = line.partition(":")
        if colon:
            found.setdefault(key.strip(), content.strip())
    return found


def soc_name(root: Path = Path("/")) -> str:
    """Return the board's name from its device tree, else the processor's; "unknown" where nothing says."""
    for name in _MODEL_FILES:
        try:
            model = (root / name).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        except OSError:
            continue
        if model:
            return model[:200]
    cpuinfo = read_cpuinfo(root)
    name = next((cpuinfo[key] for key in _NAME_KEYS if cpuinfo.get(key)), "unknown")
    return " ".join(name.split())[:200]


def instruction_sets(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the processor's flags that decide speed, in a fixed order."""
    cpuinfo = read_cpuinfo(root)
    flags = set(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    return tuple(flag for flag in (*X86_FLAGS, *ARM_FLAGS) if flag in flags)


def host_id(root: Path = Path("/"), host_name: str = "") -> str:
    """Return what agents of one host share, without telling which host: a digest of its machine id."""
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        try:
            machine_id = (root / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if machine_id:
            return sha256_hex(f"thresher host {machine_id}".encode())[:32]
    return sha256_hex(f"thresher host {host_name}".encode())[:32]
