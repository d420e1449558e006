"""What a checkpoint can predict, from what and for whom."""

from dataclasses import replace

import pytest

from kuaihl.errors import CheckpointError, NothingToPredictFromError
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.model.targets import check_sources, sources_of, streamers_of

CONFIG = KuaiHLConfig(
    streamers=("1", "Ann"),
    targets=(
        Target(),
        Target("participation", "real chat", excluded_inputs=("pictures", "speech", "text", "streamer")),
    ),
)


def test_a_target_is_predicted_from_what_it_was_trained_with() -> None:
    assert [sources_of(target) for target in CONFIG.targets] == [("pictures", "speech", "comments"), ("comments",)]
    check_sources(CONFIG, None, ["speech"])
    check_sources(CONFIG, "participation", ["speech", "comments"])
    with pytest.raises(NothingToPredictFromError, match=r"predict participation from, which takes comments\.$"):
        check_sources(CONFIG, "participation", ["pictures", "speech"])
    with pytest.raises(CheckpointError, match="lvtr, participation"):
        check_sources(CONFIG, "smell", ["comments"])


def test_streamers_are_those_of_the_target_where_the_checkpoint_tells_them_apart() -> None:
    assert streamers_of(CONFIG, None) == ("1", "Ann")
    assert streamers_of(CONFIG, "participation") == (), "it was trained without"
    config = replace(CONFIG, targets=(Target("participation", "real chat", streamers=("1",)),))
    assert streamers_of(config, "participation") == ("1",)
