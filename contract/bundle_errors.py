"""What can be wrong with a bundle, as one tree; each refusal names the file and what is wrong.

BundleError
├── BundleMissing          there is no bundle where one was expected
├── BundleNotReplaced      what stands at the target is no bundle and is left alone
├── BundleFormatUnknown    the manifest is of another format version
├── ManifestMalformed      the manifest is not what this format version prescribes
├── BundleTampered         a file is not the one that was written
│   ├── FileMissing        it is not there
│   ├── FileUnlisted       no bundle holds a file of that name
│   ├── FileNotPlain       a link, a directory or a pipe is in its place
│   ├── FileUnreadable     it is there and cannot be read
│   ├── FileTooLarge       it is larger than any such file of a bundle
│   ├── FileResized        it is shorter or longer than the manifest says
│   ├── FileAltered        it has the size that the manifest says and other bytes
│   ├── ManifestAltered    the manifest is not the one that the hash file names
│   └── NamespaceMismatch  the manifest claims a vector space that its files do not make
└── BundleUnusable         every file is as it was written, and yet this is no model
    ├── CardMalformed      the model card is not UTF-8
    ├── TopicsMalformed    the topics are not a list of distinct names
    ├── TopicsMismatch     they are more or fewer than the manifest says
    ├── ClickModelMalformed  its numbers are missing, or no numbers
    ├── ClickModelMismatch   it is of another dim than the manifest says
    ├── TokenizerMalformed   it does not load, or does not tokenise
    ├── TokenizerMismatch    it makes token ids that the news encoder has no row for
    ├── GraphMalformed     it is not an ONNX graph that ONNX Runtime loads
    ├── GraphForeign       it holds what no graph of a bundle may hold
    ├── GraphMismatch      it has other inputs, outputs or axes than the manifest says
    ├── GraphFailed        it loads, and fails or gives no sound numbers when it is run
    ├── GoldenMalformed    the recorded answers are none, or no answers
    └── GoldenMismatch     the encoder does not give the answers that were recorded
"""

from collections.abc import Iterator
from contextlib import contextmanager

# Names in a directory and messages of libraries may be of any length.
MAX_LINE = 300


class BundleError(ValueError):
    """A directory is not a sound bundle: `file` says where, `problem` what is wrong."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(file, problem)
        self.file, self.problem = printable(file), printable(problem)

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class BundleMissing(BundleError):
    """There is no bundle where one was expected."""


class BundleNotReplaced(BundleError):
    """What stands at the target is no bundle and is left alone."""


class BundleFormatUnknown(BundleError):
    """The manifest is of another format version."""


class ManifestMalformed(BundleError):
    """The manifest is not what this format version prescribes."""


class BundleTampered(BundleError):
    """A file is not the one that was written."""


class FileMissing(BundleTampered):
    """A file is not there."""


class FileUnlisted(BundleTampered):
    """No bundle holds a file of that name."""


class FileNotPlain(BundleTampered):
    """A link, a directory or a pipe is in a file's place."""


class FileUnreadable(BundleTampered):
    """A file is there and cannot be read."""


class FileTooLarge(BundleTampered):
    """A file is larger than any such file of a bundle."""


class FileResized(BundleTampered):
    """A file is shorter or longer than the manifest says."""


class FileAltered(BundleTampered):
    """A file has the size that the manifest says and other bytes."""


class ManifestAltered(BundleTampered):
    """The manifest is not the one that the hash file names."""


class NamespaceMismatch(BundleTampered):
    """The manifest claims a vector space that its files do not make."""


class BundleUnusable(BundleError):
    """Every file is as it was written, and yet this is no model."""


class CardMalformed(BundleUnusable):
    """The model card is not UTF-8."""


class TopicsMalformed(BundleUnusable):
    """The topics are not a list of distinct names."""


class TopicsMismatch(BundleUnusable):
    """The topics are more or fewer than the manifest says."""


class ClickModelMalformed(BundleUnusable):
    """The click model's numbers are missing, or no numbers."""


class ClickModelMismatch(BundleUnusable):
    """The click model is of another dim than the manifest says."""


class TokenizerMalformed(BundleUnusable):
    """The tokenizer does not load, or does not tokenise."""


class TokenizerMismatch(BundleUnusable):
    """The tokenizer makes token ids that the news encoder has no row for."""


class GraphMalformed(BundleUnusable):
    """A graph is not one that ONNX Runtime loads."""


class GraphForeign(BundleUnusable):
    """A graph holds what no graph of a bundle may hold."""


class GraphMismatch(BundleUnusable):
    """A graph has other inputs, outputs or axes than the manifest says."""


class GraphFailed(BundleUnusable):
    """A graph loads, and fails or gives no sound numbers when it is run."""


class GoldenMalformed(BundleUnusable):
    """The recorded answers are none, or no answers."""


class GoldenMismatch(BundleUnusable):
    """The encoder does not give the answers that the bundle recorded."""


def printable(text: str, *, at_most: int = MAX_LINE) -> str:
    """Return a text as one line of a terminal: what a bundle holds cannot steer it."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= at_most else f"{line[: at_most - 1]}…"


@contextmanager
def refusing(refusal: type[BundleError], file: str) -> Iterator[None]:
    """Turn whatever a library raises into a refusal: their errors have no root in common."""
    try:
        yield
    except (BundleError, ImportError):  # a library that is not installed is not the bundle's fault
        raise
    except BaseException as error:
        # A panic of a Rust library is no Exception; what else is none is not about the bundle.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise refusal(file, f"{type(error).__name__}: {error}") from error
