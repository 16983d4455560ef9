"""Every error the service raises on purpose.

ServiceError
├── StoreError
│   ├── StoreUnavailable     the store did not answer in time, or not at all      503
│   ├── StoreFull            the store refuses writes for want of space           507
│   └── SchemaUnknown        the store was written by another format version      refuses to start
├── FrameError               a stored vector is damaged (adapters/frames.py); stays in the store
├── RecordDamaged            a stored record of a reader is damaged (readers.py); passed over
├── TokenRefused             propensities of feedback are forged (exploration.py); none are exported
├── Overloaded               the request was shed before any work was done        503
├── DeadlineExceeded         the request's time ran out                           503
├── NotReady                 no verified model or snapshot yet                    503
├── ArticleUnknown           no article of that id, or it was taken down          404
├── ReaderUnknown            nothing is kept of a reader of that id                404
├── ModelUnknown             the request names a model that does not serve here   404
├── CursorRefused            the cursor is damaged, too old or of another request 422
├── Unanswerable             the request is well formed and asks for what is not  422
├── UnreadableBody           the body is not JSON                                 400
├── BodyTooLarge             the body is over the cap                             413
└── MediaTypeUnsupported     the body's content type or encoding is not accepted  415
"""


class ServiceError(Exception):
    """Root of the tree; never raised itself."""


class StoreError(ServiceError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, or not at all."""


class StoreFull(StoreError):
    """The store refuses writes for want of space."""


class SchemaUnknown(StoreError):
    """The store was written by a format version this build does not read."""


class Overloaded(ServiceError):
    """The request was shed before any work was done."""


class DeadlineExceeded(ServiceError):
    """The request's time ran out."""


class NotReady(ServiceError):
    """There is no verified model or no snapshot yet."""


class ArticleUnknown(ServiceError):
    """No article of that id exists, or it was taken down."""


class ReaderUnknown(ServiceError):
    """Nothing is kept of a reader of that id."""


class ModelUnknown(ServiceError):
    """The request names a model that does not serve here."""


class CursorRefused(ServiceError):
    """The cursor is damaged, too old, or was issued for another request."""


class Unanswerable(ServiceError):
    """The request is well formed and asks for what this model or this service does not have."""


class UnreadableBody(ServiceError):
    """The body is not JSON."""


class BodyTooLarge(ServiceError):
    """The body is over the cap."""


class MediaTypeUnsupported(ServiceError):
    """The body's content type or encoding is not accepted."""
