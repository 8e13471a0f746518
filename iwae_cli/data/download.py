"""Published files: found in the user's folder or the cache, else downloaded; always verified.

What is verified is the uncompressed content, in memory: the same file may lie there gzipped by
anyone, or plain.

Environment:
    IWAE_DATA_DIR: A folder of files brought by hand. It is read, never written.
    IWAE_DATA_MIRROR: A base URL that replaces the public mirrors; the files lie directly below it
        under their published names.
"""

import gzip
import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch

from iwae_cli.core.errors import DataError
from iwae_cli.data.download_progress import DownloadProgress

log = logging.getLogger("iwae")

GZIP_MAGIC = b"\x1f\x8b"
TIMEOUT_SECONDS = (10, 30)  # to connect, to wait for the next bytes
REASONS = {  # what requests calls it -> what happened
    "ConnectionError": "no connection",
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "ChunkedEncodingError": "the connection broke off",
}


@dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        name: Its name, without `.gz`.
        folder: The subfolder of IWAE_DATA_DIR where it may lie, beside IWAE_DATA_DIR itself.
        digests: Accepted digests of the uncompressed content, as `sha256:...` or `git:...`.
        urls: Public mirrors, the first tried first.
        megabytes: Of a download, about.
    """

    name: str
    folder: str
    digests: tuple[str, ...]
    urls: tuple[str, ...]
    megabytes: float = 0.0


def place_of(file: File) -> Path | None:
    """Return where `file` lies on this machine, None where it would have to be downloaded."""
    found = (path for path in (*_own_paths(file), *_cached_paths(file)) if path.is_file())
    return next(found, None)


@dataclass(frozen=True)
class Content:
    """The uncompressed bytes of a file, the path or URL they are from, and their known digest."""

    data: bytes
    origin: str
    digest: str | None


def read(file: File, *, strict: bool = True) -> Content:
    """Return the verified content of `file`, downloaded if it is nowhere on this machine.

    Args:
        file: What to look for: in IWAE_DATA_DIR, then in the cache folder, then on its mirrors.
        strict: Whether a file on this machine must have one of the accepted digests; if not,
            `Content.digest` is None for any other. A download must always have one.

    Raises:
        DataError: The file cannot be had, or is damaged. A user's own file is left as it is; a
            damaged one in the cache is deleted and downloaded anew.
    """
    for path in _own_paths(file):
        if path.is_file():
            try:
                return _read(file, path, strict=strict)
            except DataError as error:
                raise DataError(
                    f"{error}: replace it, or unset IWAE_DATA_DIR to download it"
                ) from None
    for path in _cached_paths(file):
        if path.is_file():
            try:
                return _read(file, path, strict=strict)
            except DataError as error:
                log.warning("%s: deleted from the cache, downloading it again", error)
                path.unlink(missing_ok=True)
    return _download(file)


def cache_folder() -> Path:
    """Return the folder of this platform where downloads are kept."""
    return Path(pooch.os_cache("iwae"))


def _own_paths(file: File) -> Iterator[Path]:
    """Yield where `file` may lie below IWAE_DATA_DIR."""
    root = os.environ.get("IWAE_DATA_DIR")
    if root:
        for folder in (Path(root).expanduser() / file.folder, Path(root).expanduser()):
            yield folder / file.name
            yield folder / f"{file.name}.gz"


def _cached_paths(file: File) -> Iterator[Path]:
    """Yield where `file` may lie in the cache folder."""
    yield cache_folder() / file.name
    yield cache_folder() / f"{file.name}.gz"


def _read(file: File, path: Path, *, strict: bool) -> Content:
    """Return the verified content of the file at `path`."""
    try:
        return _verified(file, path.read_bytes(), str(path), strict=strict)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def _verified(file: File, data: bytes, origin: str, *, strict: bool) -> Content:
    """Return `data`, uncompressed where it is gzipped, once its digest is known to be right."""
    if data.startswith(GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"is a truncated or damaged gzip file ({error})"
            raise DataError(f"{origin} {reason}") from None
    found = [f"{kind}:{_digest(kind, data)}" for kind in _kinds(file)]
    known = next((digest for digest in found if digest in file.digests), None)
    if known is None and strict:
        raise DataError(
            f"{origin} is damaged or another version: its content has {' and '.join(found)}, "
            f"expected {' or '.join(file.digests)}"
        )
    return Content(data, origin, known)


def _kinds(file: File) -> list[str]:
    """Return the kinds of digest by which `file` is known."""
    return sorted({digest.partition(":")[0] for digest in file.digests})


def _digest(kind: str, data: bytes) -> str:
    """Return the SHA-256 of `data`, or the id that git gives it as a blob, in hex."""
    if kind == "sha256":
        return hashlib.sha256(data).hexdigest()
    assert kind == "git"
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _urls(file: File) -> list[str]:
    """Return where to download `file` from."""
    mirror = os.environ.get("IWAE_DATA_MIRROR")
    if mirror:
        return [f"{mirror.rstrip('/')}/{file.urls[0].rpartition('/')[2]}"]
    return list(file.urls)


def _download(file: File) -> Content:
    """Return the content of `file` from the first mirror that gives it whole."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{file.name} is missing and the cache folder {cache_folder()} cannot be made "
            f"({error.strerror}): set IWAE_DATA_DIR to a folder that holds {file.name}"
        ) from None
    failures = []
    for url in _urls(file):
        try:
            return _fetch(file, url)
        except DataError as error:
            failures.append(f"{error} (deleted)")
        except OSError as error:  # which every error of requests is, too
            failures.append(f"{_reason(error)} at {urlsplit(url).netloc}")
    raise DataError(
        f"{file.name} is missing and cannot be downloaded: {'; '.join(failures)}",
        f"to bring it, set IWAE_DATA_DIR to a folder with {file.name} or {file.name}.gz "
        f"({_looked_for(file)})",
        "dataset=digits needs no files",
    )


def _looked_for(file: File) -> str:
    """Return where a file of one's own was looked for."""
    root = os.environ.get("IWAE_DATA_DIR")
    return f"it is {root}, which has neither" if root else "it is not set"


def _fetch(file: File, url: str) -> Content:
    """Download `url` and return its content, in the cache under its name only once verified."""
    size = f" ({file.megabytes:.1f} MB)" if file.megabytes else ""
    log.info("downloading %s%s to %s", url, size, cache_folder())
    progress = DownloadProgress(file.name)
    download = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=TIMEOUT_SECONDS)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="download-") as scratch:
        partial = Path(scratch) / file.name
        try:
            download(url, str(partial), None)
        finally:
            progress.close()
        data = partial.read_bytes()
        content = _verified(file, data, url, strict=True)
        name = f"{file.name}.gz" if data.startswith(GZIP_MAGIC) else file.name
        os.replace(partial, cache_folder() / name)  # atomic: others see all of it or nothing
    return content


def _reason(error: OSError) -> str:
    """Return in a few words why a download failed."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    name = type(error).__name__
    return REASONS.get(name) or error.strerror or name
