"""The page of `reproduce`: requests nothing, is the same when it is made again, and when processes divide the work and are
killed at random times.

usage: check_pages.py REPRODUCE FOLDER [SEED]
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

program, folder = sys.argv[1:3]
seed = sys.argv[3] if len(sys.argv) > 3 else str(time.time_ns())
rng = random.Random(seed)
out = os.path.join(folder, "page")
command = [program, "--limit", "8", "--budgets", "12,6,2", "--steps", "3", "--max-new-tokens", "12", "--quiet", "--out", out]
# How often processes are killed, for each number of shards.
KILLS = {1: 3, 3: 3, 7: 4}


def fail(why):
    sys.exit(f"check_pages.py: {why} (seed {seed})")


def run(*options, **variables):
    subprocess.run([*command, *options], check=True, env={**os.environ, **variables})


def page():
    """The page without what tells one run from another: its seconds."""
    text = ""
    for name in ("page.md", "index.html"):
        with open(os.path.join(out, name), encoding="utf-8") as file:
            text += "".join(line for line in file if "time of the last start" not in line)
    return text


def killed(seconds, *options, **variables):
    """Starts the program, kills it after some seconds, and returns true if it was still running."""
    process = subprocess.Popen([*command, *options], env={**os.environ, **variables}, stderr=subprocess.DEVNULL)
    try:
        if process.wait(timeout=seconds) != 0:
            fail(f"ended by itself with {process.returncode}")
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


for name in list(os.environ):
    if name.startswith("SLURM_") or name in ("JOB_COMPLETION_INDEX", "DYNLAYER_SHARDS"):
        del os.environ[name]
started = time.monotonic()
run()
seconds = time.monotonic() - started
undivided = page()
with open(os.path.join(out, "index.html"), encoding="utf-8") as file:
    html = file.read()
if len(re.findall(r"^## [123]\.", undivided, re.MULTILINE)) != 3:
    fail("the page lacks an experiment")
if html.count('class="plot"') < 4:
    fail("the page lacks plots")
if request := re.search(r"(src|href)=|url\(|@import", html):
    fail(f"the page requests something: {request.group()}")
run()
if page() != undivided:
    fail("the page differs when it is made again")

done = 0
for n, kills in KILLS.items():
    shutil.rmtree(out)
    doomed = [rng.randrange(n) for _ in range(kills)]
    for i in range(n):
        # As the tasks of a Slurm array, which may begin at any number.
        variables = {"SLURM_ARRAY_TASK_ID": str(i + 4), "SLURM_ARRAY_TASK_COUNT": str(n), "SLURM_ARRAY_TASK_MIN": "4"}
        for _ in range(doomed.count(i)):
            # A shard that ended before has less to do when it is started again, and may end once more.
            done += killed(rng.uniform(0, seconds / n), **variables)
        run(**variables)
        if i + 1 < n:
            early = subprocess.run([*command, "--merge"], capture_output=True, text=True)
            if early.returncode == 0 or not re.search("missing|not finished|shard", early.stderr):
                fail(f"merged before all shards were finished: {early.stderr}")
    run("--merge")
    if page() != undivided:
        fail(f"{n} shards give another page")
if done == 0:
    fail("nothing was killed")
print(f"the page is the same in 1, 3 and 7 parts, {done} times killed (seed {seed})")
