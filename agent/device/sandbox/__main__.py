"""Say what this host can hold a worker by: `python -m agent.device.sandbox` prints one JSON object.

A process of its own: what it loads for that, the control process need not carry.
"""

import json

from agent.device.sandbox.confine import abilities

if __name__ == "__main__":
    print(json.dumps(abilities()))
