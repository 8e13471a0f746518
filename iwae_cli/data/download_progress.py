"""The progress of a download, for pooch."""

from iwae_cli.core.progress import ProgressReport


class DownloadProgress:
    """How far a download is, as pooch asks for it.

    Attributes:
        total: Size in bytes, which pooch sets; 0 where the server does not tell it.

    Args:
        name: Of the file.
    """

    def __init__(self, name: str) -> None:
        self.name, self.total, self.done = name, 0, 0
        self.report: ProgressReport | None = None

    def update(self, size: int) -> None:
        """Count `size` more bytes."""
        if self.report is None:
            self.report = ProgressReport("download", total=self.total).__enter__()
        self.done += size
        if self.report.due():
            whole = f"/{self.total / 1e6:.1f}" if self.total else ""
            self.report.update(self.done, f"{self.name}  {self.done / 1e6:.1f}{whole} MB")

    def reset(self) -> None:
        """Count from the start, as pooch does before it counts the whole file once more."""
        self.done = 0

    def close(self) -> None:
        """Take the bar away."""
        if self.report is not None:
            self.report.__exit__(None, None, None)
            self.report = None
