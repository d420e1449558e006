"""Errors that a user can cause. Each says what was wrong, where, and what to do."""


class KuaiHLError(Exception):
    """An error that the user can correct. Its message is shown as it is, on the page and on the command line."""


class RecordingError(KuaiHLError):
    """A recording cannot be read."""


class CommentLogError(KuaiHLError):
    """A comment log or a transcript cannot be read."""


class NothingToPredictFromError(KuaiHLError):
    """None of the sources is there that a target is predicted from."""


class CheckpointError(KuaiHLError):
    """Weights are missing, damaged or of another kind."""


class LabelError(KuaiHLError):
    """Labels or a dataset cannot be used for training."""
