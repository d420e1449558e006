"""What a checkpoint can predict, from what and for whom: told before anything is encoded."""

from collections.abc import Collection

from kuaihl.errors import NothingToPredictFromError
from kuaihl.features.embeddings import SOURCES, Source
from kuaihl.model.config import KuaiHLConfig, Target


def sources_of(target: Target) -> tuple[Source, ...]:
    """Tell which sources a target is predicted from: any of them is enough."""
    return tuple(source for source in SOURCES if source not in target.excluded_inputs)


def check_sources(config: KuaiHLConfig, name: str | None, given: Collection[str]) -> None:
    """Refuse to predict a target (None: the first) from sources ``given``: NothingToPredictFromError if none counts."""
    target = config.targets[config.target_index(name)]
    needed = sources_of(target)
    if not set(needed) & set(given):
        raise NothingToPredictFromError(
            f"There is nothing to predict {target.name} from, which takes {' or '.join(needed)}."
        )


def streamers_of(config: KuaiHLConfig, name: str | None) -> tuple[str, ...]:
    """Name the streamers that a target (None: the first) was learned from.

    Checkpoints that do not tell them apart name all of their streamers.
    """
    target = config.targets[config.target_index(name)]
    if "streamer" in target.excluded_inputs:
        return ()
    return config.streamers if target.streamers is None else target.streamers
