"""What a checkpoint can predict, from which sources and for which streamers."""

from collections.abc import Collection

from kuaihl.errors import NothingToPredictFromError
from kuaihl.features.embeddings import SOURCES, Source
from kuaihl.model.config import KuaiHLConfig, Target


def sources_of(target: Target) -> tuple[Source, ...]:
    """Return the sources that a target is predicted from; any of them is enough."""
    return tuple(source for source in SOURCES if source not in target.excluded_inputs)


def check_sources(config: KuaiHLConfig, name: str | None, available: Collection[str]) -> tuple[Source, ...]:
    """Return those of the ``available`` sources that a target (None: the first) is predicted from.

    Raises
    ------
    NothingToPredictFromError
        There are none.
    """
    target = config.targets[config.target_index(name)]
    needed = sources_of(target)
    used: tuple[Source, ...] = tuple(source for source in needed if source in available)
    if not used:
        raise NothingToPredictFromError(
            f"There is nothing to predict {target.name} from, which takes {' or '.join(needed)}."
        )
    return used


def streamers_of(config: KuaiHLConfig, name: str | None) -> tuple[str, ...]:
    """Return the streamers that a target (None: the first) was trained on.

    A checkpoint that does not record them for each target returns all of its streamers.
    """
    target = config.targets[config.target_index(name)]
    if "streamer" in target.excluded_inputs:
        return ()
    return config.streamers if target.streamers is None else target.streamers
