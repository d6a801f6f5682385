"""Starting and stopping the server, and reading its metrics, for the scripts beside this file."""
import json
import pathlib
import shutil
import signal
import subprocess
import urllib.request

ASSETS = pathlib.Path(__file__).resolve().parents[2] / "crates/tiny/assets"


class Server:
    """A running server: `with Server(binary, "--queue", "2") as server`. Leaving the block stops it."""

    def __init__(self, binary, *options):
        self.process = subprocess.Popen([binary, "--port", "0", *options], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"the server did not start: {line!r}"
        self.url = line.removeprefix("listening on ").strip()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert kind or status == 0, f"the server ended with status {status}"

    def metrics(self):
        """Returns all samples of /metrics, by name with labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def resident_mb(self):
        """Returns the resident memory of the server, in megabytes (10^6 bytes)."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024 / 1e6


def longer_model(folder, positions):
    """Writes the embedded model to a folder, but for texts of this length. Beyond 64 tokens they make no sense."""
    folder = shutil.copytree(ASSETS, pathlib.Path(folder) / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    (folder / "template.jinja").write_text("{{ messages[-1].content }}")
    return ["--model", str(folder), "--chat-template", str(folder / "template.jinja")]
