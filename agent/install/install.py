"""Install the agent on this device, or into a tree: each step may be repeated, and each is told.

Decides: the order of the steps and which of them are left out where. Leaves out: how a release is made
(`release.py`), what the configuration says (`config_file.py`).
"""

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.config import AgentConfig, load_config
from agent.device.checkup import Finding, check_up, served
from agent.device.checkup.vendor import is_jetson
from agent.device.identity import agent_runs
from agent.install import config_file, release
from agent.install.claim import check_token, make_claim, read_claim
from agent.install.environment import HOMES, Environment, check_environment, running_environment
from agent.install.layout import ACCOUNT, SERVICE, Layout
from agent.install.system import InstallRefused, Progress, System
from agent.install.upgrade import locked
from wire.claim import ClaimToken

DROP_INS = f"{SERVICE}.service.d"
JETSON = "jetson"
NOBODY = (65534, 65534)
"""Stands for the service before it has a user: it may read what anybody may."""
HIDDEN = (*HOMES, Path("/tmp"), Path("/var/tmp"))
"""Not seen by the service. Source: systemd.exec(5), ProtectHome= and PrivateTmp=."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for. Without `settings` a configuration must be there already."""

    settings: config_file.Settings | None
    token: ClaimToken | None = None
    force: bool = False
    start: bool = True
    drop_ins: tuple[str, ...] = ()


def install(asked: Asked, layout: Layout, progress: Progress) -> AgentConfig | None:
    """Install or renew the agent; return its configuration, None after a dry run of a first installation.

    Raises:
        InstallRefused: The device or the environment will not do; nothing was changed.
        InstallFailed: A step failed.
        ConfigurationError: The configuration that is there, or the token, cannot be used.
    """
    system = System(layout)
    if not progress.dry_run:
        system.require_root("agent install")
    environment = running_environment()
    _check(asked, system, environment, progress)
    if progress.dry_run:
        return _carry_out(asked, environment, system, progress)
    with locked(layout):
        return _carry_out(asked, environment, system, progress)


def _carry_out(asked: Asked, environment: Environment, system: System, progress: Progress) -> AgentConfig | None:
    layout = system.layout
    _account(system, progress)
    is_new = _release(environment, layout, progress)
    config = _configuration(asked, system, progress)
    _folders(config, system, progress)
    _unit(asked, environment, system, progress)
    _warm(system, config, progress)
    if asked.token is not None:
        _claim(asked.token, config, layout, progress)
    _start(asked.start, is_new, system, progress)
    return config


def find_units(environment: Environment) -> Path:
    """Return the folder of the units: of the installed distribution.

    Raises:
        InstallRefused: They are not there.
    """
    folder = environment.prefix / release.SHARED
    if not (folder / f"{SERVICE}.service").is_file():
        raise InstallRefused(f"no {SERVICE}.service in {folder}: install Thresher from a wheel that has its data files")
    return folder


def _check(asked: Asked, system: System, environment: Environment, progress: Progress) -> None:
    """Refuse what would end badly: everything that can be known before the first step."""
    layout = system.layout
    if asked.settings is None and not layout.config.is_file():
        raise InstallRefused(
            f"there is no {layout.config} yet: give --claim TOKEN, or --broker HOST, --fleet NAME and --keys FILE"
        )
    config = _future_config(asked, layout)
    missing: list[Finding] = []
    for finding in [*check_up(None), *served(config, _future_account(system)), *_hidden(config, system)]:
        if finding.verdict == "missing":
            missing.append(finding)
        elif finding.verdict == "warning":
            progress.note(f"doctor: {finding.name}", "warning", _told(finding))
    if missing:
        raise InstallRefused("; ".join(f"{finding.name}: {_told(finding)}" for finding in missing))
    for warning in check_environment(environment, layout):
        progress.note("environment", "warning", warning)
    source = find_units(environment)
    for name in asked.drop_ins:
        _drop_in(source, name)


def _writes_config(asked: Asked, layout: Layout) -> bool:
    return asked.settings is not None and (asked.force or not layout.config.is_file())


def _future_config(asked: Asked, layout: Layout) -> AgentConfig:
    """Return the configuration that the agent will start with: the one that is there, or the one to be written."""
    if asked.settings is not None and _writes_config(asked, layout):
        config = config_file.planned(asked.settings, layout)
    else:
        config = load_config(layout.config, environment={})
    if asked.token is not None:
        if asked.token.fleet != config.fleet:
            raise InstallRefused(
                f"the token is for fleet {asked.token.fleet!r}, the configuration says {config.fleet!r}: --force"
            )
        check_token(asked.token, config.fleet, config.device)
    password = config.broker.password_file
    if layout.is_image and password is not None and (layout.root / password.relative_to("/")).is_file():
        broker = config.broker.model_copy(update={"password_file": layout.root / password.relative_to("/")})
        config = config.model_copy(update={"broker": broker})
    return config


def _future_account(system: System) -> tuple[int, int] | None:
    """Return whom files must be readable by: the service, or, before it has a user, anybody."""
    return None if system.layout.is_image else system.account() or NOBODY


def _hidden(config: AgentConfig, system: System) -> list[Finding]:
    """Look for a password where the unit hides it from the service."""
    path = config.broker.password_file
    if path is None or not system.has_systemd or not any(path.is_relative_to(each) for each in HIDDEN):
        return []
    found = f"{path} lies where the service may not look"
    return [Finding("password hidden", "missing", found, f"move it into {system.layout.config_dir}")]


def _told(finding: Finding) -> str:
    return finding.found + (f" ({finding.remedy})" if finding.remedy else "")


def _account(system: System, progress: Progress) -> None:
    if system.layout.is_image:
        progress.note("user", "skipped", "no user is made in a tree: the unit needs one named " + ACCOUNT)
        return
    act = system.make_account if system.account() is None else None
    progress.step("user", f"system user and group {ACCOUNT}", act)


def _release(environment: Environment, layout: Layout, progress: Progress) -> bool:
    """Lay the release and start it from now on; return whether it is another one than before."""
    name = release.release_name(environment)
    act = None if name in layout.laid() else partial(release.lay_release, environment, layout, name)
    progress.step("release", f"{layout.releases / name}", act)
    is_new = layout.named_by(layout.current) != name
    progress.step("current", f"{layout.current} -> {name}", partial(_switch, layout, name) if is_new else None)
    return is_new


def _switch(layout: Layout, name: str) -> None:
    """Have both links name the release: who installs by hand has seen to it that it works."""
    layout.intent.unlink(missing_ok=True)
    former = layout.named_by(layout.current)
    layout.point(layout.previous, name)
    layout.point(layout.current, name)
    release.prune(layout, (name, former))


def _configuration(asked: Asked, system: System, progress: Progress) -> AgentConfig | None:
    layout, settings = system.layout, asked.settings
    if settings is None or not _writes_config(asked, layout):
        progress.step("configuration", f"{layout.config} stays as it is (--force writes it anew)", None)
    else:
        layout_made = partial(_write_configuration, settings, system)
        progress.step("configuration", f"{layout.config}: {settings.device} of {settings.fleet}", layout_made)
    if not layout.config.is_file():
        return None
    return load_config(layout.config, environment={})


def _write_configuration(settings: config_file.Settings, system: System) -> None:
    folder = system.layout.config_dir
    folder.mkdir(parents=True, exist_ok=True)
    system.own(folder, 0o750, by_service=False)
    config_file.write_files(settings, system.layout, system)


def _folders(config: AgentConfig | None, system: System, progress: Progress) -> None:
    # Links are left as they are: one in the service's own folder would have root make a folder wherever it leads.
    state_dir = Path(os.path.normpath(config.state_dir if config is not None else system.layout.state_dir))
    for name, folder in (("state", state_dir), ("cache", _cache(system.layout, config))):
        progress.step(name, str(folder), None if folder.is_dir() else partial(system.make_folder, folder, 0o750))


def _cache(layout: Layout, config: AgentConfig | None) -> Path:
    return Path(os.path.normpath(config.kernel_cache if config is not None else layout.state_dir / "cache"))


def _unit(asked: Asked, environment: Environment, system: System, progress: Progress) -> None:
    source, layout = find_units(environment), system.layout
    wanted = {layout.unit: source / layout.unit.name}
    for name in asked.drop_ins:
        wanted[layout.units / DROP_INS / f"{name}.conf"] = _drop_in(source, name)
    if is_jetson(layout.root) and JETSON not in asked.drop_ins:
        progress.note("unit", "warning", f"this is a Jetson: --with {JETSON} opens its GPU to the workers")
    changed = {to: of for to, of in wanted.items() if not to.is_file() or to.read_bytes() != of.read_bytes()}
    detail = ", ".join(str(path) for path in changed or wanted)
    progress.step("unit", detail, partial(_write_units, changed, system) if changed else None)


def _drop_in(source: Path, name: str) -> Path:
    path = source / DROP_INS / f"{name}.conf"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.conf"))) or "none"
        raise InstallRefused(f"no addition {name!r} to the unit: there are {known}")
    return path


def _write_units(changed: dict[Path, Path], system: System) -> None:
    for target, source in changed.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o644)
    if system.has_systemd:
        system.systemctl("daemon-reload")


def _warm(system: System, config: AgentConfig | None, progress: Progress) -> None:
    layout = system.layout
    command: list[str | Path] = [layout.program(layout.current), "warm", "--config", layout.config]
    progress.step("kernels", f"compiled into {_cache(layout, config)}", lambda: system.run_as_service(command))


def _claim(token: ClaimToken, config: AgentConfig | None, layout: Layout, progress: Progress) -> None:
    if config is None:
        progress.step("claim", f"{token.claim} with a key of the device's own", lambda: None)
        return
    saved = read_claim(config.state_dir)
    is_known = saved is not None and (saved.claim.claim, saved.claim.device) == (token.claim, config.device)
    act = None if is_known else partial(make_claim, config.state_dir, token, config.device, layout.root)
    progress.step("claim", f"{token.claim} for {config.device}; said when the agent connects", act)


def _start(asked: bool, is_new: bool, system: System, progress: Progress) -> None:
    layout = system.layout
    by_hand = f"{layout.program(layout.current)} run --config {layout.config}"
    if layout.is_image:
        progress.note("start", "skipped", f"in a tree nothing is started; by hand: {by_hand}")
    elif not system.has_systemd:
        progress.note("start", "skipped", f"systemd does not run here; by hand, as user {ACCOUNT}: {by_hand}")
    elif not asked:
        progress.note("start", "skipped", f"--no-start; later: systemctl enable --now {SERVICE}")
    else:
        progress.step("start", f"systemctl enable, {'restart' if is_new else 'start'} {SERVICE}", partial(
            _enable, is_new, system
        ))  # fmt: skip


def _enable(is_new: bool, system: System) -> None:
    system.systemctl("enable", f"{SERVICE}.service")
    system.systemctl("restart" if is_new else "start", f"{SERVICE}.service")


def next_words(layout: Layout, config: AgentConfig | None) -> str:
    """Return what a person does next."""
    if config is None:
        return "nothing was changed"
    program = layout.program(layout.current)
    runs = "runs" if agent_runs(config.state_dir) else "does not run yet"
    return (
        f"{config.device} of fleet {config.fleet} {runs}; look at it with\n"
        f"  {program} doctor --config {layout.config}\n  {program} status --config {layout.config}"
    )
