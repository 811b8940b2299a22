"""Where a workload's queries come from. Each kind is loaded only where it is configured.

source = make_source(settings.source, surroundings)
await source.run(lane)
"""

from agent.gateway.base import Intake, Source, Surroundings
from agent.serve import settings


def make_source(chosen: settings.Source, surroundings: Surroundings) -> Source:
    """Return the source that `chosen` describes; nothing is opened before it runs."""
    match chosen:
        case settings.ReplaySource():
            from agent.gateway.sources.replay import Replay

            return Replay(chosen, surroundings)
        case settings.MqttSource():
            from agent.gateway.sources.mqtt import Sensors

            return Sensors(chosen, surroundings)
        case settings.FolderSource():
            from agent.gateway.sources.folder import Folder

            return Folder(chosen, surroundings)
        case settings.CameraSource():
            from agent.gateway.sources.camera.source import Camera

            return Camera(chosen, surroundings)
        case settings.NoSource():
            return Nothing()


class Nothing:
    """No queries but those of applications."""

    period_s: float | None = None

    async def run(self, intake: Intake) -> None:
        """Return: there are none."""
