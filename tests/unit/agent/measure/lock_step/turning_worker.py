"""A worker that takes turns and measures nothing. How it ends stands in the order's cache_dir."""

import json
import sys
import time
from pathlib import Path


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def main(arguments: list[str]) -> int:
    order = json.loads(Path(arguments[0]).read_text())
    result, what = Path(order["result_path"]), Path(order["cache_dir"]).name
    log = result.parent.parent / "log"
    if what == "unfit":
        result.write_text('{"outcome": "unfit", "error": {"code": "golden_mismatch"}}')
        return 0
    if what == "does not start":
        return 3
    say("ready")
    turns = 0
    while sys.stdin.readline().strip() == "go":
        turns += 1
        with log.open("a") as file:
            file.write(result.parent.name)
        if turns == 2 and what == "crash":
            return 7
        if turns == 2 and what == "hang":
            time.sleep(600)
        say("turn_over", enough=turns >= 3, full=False)
    if what == "ends badly":
        return 8
    result.write_text(json.dumps({"outcome": "ok", "engine": what}))
    return 0
