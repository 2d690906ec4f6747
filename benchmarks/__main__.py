"""Every benchmark, one after the other: python -m benchmarks."""

import subprocess
import sys
from pathlib import Path

for script in ("sweep.py", "seeds.py", "crf.py", "memory.py", "scale.py", "convert.py", "full_size.py"):
    print(f"\n## {script}\n", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).parent / script)], check=True)
