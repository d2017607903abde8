"""`read_dump()`: the tensors of a folder, in whichever formats they are."""

from pathlib import Path

from qdiag.errors import InputError
from qdiag.export.dumps.dump import Dump, DumpProblem
from qdiag.export.dumps.numpy_files import read_numpy_files
from qdiag.export.dumps.tidl_traces import read_tidl_traces

READERS = read_tidl_traces, read_numpy_files


def read_dump(folder: Path) -> Dump:
    """Raises InputError where there is no folder, or nothing in it that a reader knows."""
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}. Give the one that the device's tensors were copied to.", code="no-folder"
        )
    dumps = [read(folder) for read in READERS]
    tensors = tuple(tensor for dump in dumps for tensor in dump.tensors)
    special = [path.name for path in sorted(folder.iterdir()) if not (path.is_file() or path.is_dir())]
    problems = tuple(DumpProblem("unreadable", name, "is no regular file, and was not opened") for name in special)
    problems += tuple(problem for dump in dumps for problem in dump.problems)
    if not tensors and not problems:
        raise InputError(
            f"no dumped tensor in {folder}. There should be tidl_trace….y files with their layer_info.txt, or .npy or "
            ".npz files.",
            code="no-dump",
        )
    return Dump(tensors, problems)
