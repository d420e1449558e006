"""The errors a user can cause: each says what was wrong, where, and what to do."""


class KuaiHLError(Exception):
    """What a user can mend. Its text is shown as it is, on the page and on the command line."""


class RecordingError(KuaiHLError):
    """A recording that cannot be read."""


class CommentLogError(KuaiHLError):
    """A comment log or a transcript that cannot be read."""


class NothingToPredictFromError(KuaiHLError):
    """A recording without any of the sources that a target is predicted from."""


class CheckpointError(KuaiHLError):
    """Weights that are missing, damaged or of another kind."""


class LabelError(KuaiHLError):
    """Labels or a dataset that cannot be used for training."""
