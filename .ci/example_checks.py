"""What the checks of the examples as programs share. Their arguments are EXAMPLES, the folder of the binaries, and TINY, the
folder of the embedded model. They run in a new folder."""
import os, subprocess, sys, tempfile

examples, tiny = (os.path.abspath(path) for path in sys.argv[1:])
failures = 0
os.chdir(tempfile.mkdtemp())


def check(what, ok, why=""):
    global failures
    failures += not ok
    print(f"{'ok  ' if ok else 'FAIL'} {what}" + ("" if ok else f": {str(why)[:300]}"))


def run(example, *options, **more):
    return subprocess.run([f"{examples}/{example}", *map(str, options)], capture_output=True, text=True, timeout=120, **more)


def refused(what, pattern, example, *options, **more):
    out = run(example, *options, **more)
    ok = out.returncode in (1, 2) and pattern in out.stderr and out.stdout == ""
    check(f"refused: {what}", ok, (out.returncode, out.stderr, out.stdout[:80]))


def finish():
    """Prints the verdict, and ends the program with it."""
    print("all checks passed" if not failures else f"{failures} checks failed")
    sys.exit(bool(failures))
