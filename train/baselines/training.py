"""Train a rival on the windows that KuaiHL trains on, and predict rooms with it."""

import logging
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kuaihl.model.config import KuaiHLConfig, Target
from train.baselines.rival import Histories, Rival, Tokenizer, TokenSizes, Window
from train.baselines.task import Task
from train.dataset import Batch, Room, Windows
from train.fit import FitConfig, build_optimizer

logger = logging.getLogger(__name__)

_WINDOWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Trained:
    """A rival with the weights of its best epoch, by validation tau."""

    model: Rival
    validation_tau: float
    best_epoch: int
    epochs: int


class RivalData:
    """The windows of a task as rivals read them.

    Parameters
    ----------
    config
        The settings of training, as for KuaiHL: whether activity is read, dropout of modalities and streamers, the
        share of windows that an epoch draws.
    """

    def __init__(self, task: Task, config: FitConfig) -> None:
        self.task = task
        segments, info = task.segments, task.segments.info
        activity = None
        if config.activity:
            activity = np.concatenate([segments.array("activity", room.start, room.stop) for room in task.train])
        streamers = () if "streamer" in config.without else tuple(sorted({room.streamer for room in task.train} - {""}))
        self._tokenize = Tokenizer(activity)
        self._histories = Histories(task, self._tokenize)
        self.model_config = KuaiHLConfig(
            window=config.window or KuaiHLConfig().window,
            picture_dim=info.picture_dim,
            text_dim=info.text_dim,
            streamers=streamers,
            targets=(Target(info.target),),
        )
        self.sizes = TokenSizes(
            info.picture_dim,
            info.text_dim,
            activity=0 if activity is None else activity.shape[1],
            streamers=len(streamers),
        )
        self.windows = Windows(
            segments,
            task.train,
            self.model_config,
            streamer_dropout=config.streamer_dropout,
            modality_dropout=config.modality_dropout,
            seed=config.seed,
        )

    def rooms_with_history(self) -> int:
        """Return how many test rooms have a history."""
        return self._histories.count(self.task.test)

    def read(self, batch: Batch, indices: Sequence[int]) -> Window:
        """Return the windows of a batch."""
        history = self._histories.stack(self.windows.rooms_of(indices), raw=self.sizes.raw)
        return Window(self._tokenize(batch.features), batch.segment_mask, *history, batch.features.streamer)

    @torch.inference_mode()
    def predict_room(self, model: Rival, room: Room) -> np.ndarray:
        """Predict each segment of a room from the window before it (segments,); NaN for those without a window."""
        n, names = self.model_config.window, self.model_config.streamers
        streamer = names.index(room.streamer) + 1 if room.streamer in names else 0
        tokens = self._tokenize(self.task.segments.features(room, streamer=streamer))[0]
        history, history_mask = self._histories.stack([room], raw=self.sizes.raw)
        ends = torch.arange(1, len(tokens) + 1 - self.task.segments.info.ahead)
        scores = [torch.full((len(tokens) - len(ends),), torch.nan)]
        for some in ends.split(_WINDOWS_AT_ONCE) if len(ends) else ():
            places = (some - n).clamp(min=0)[:, None] + torch.arange(n)
            mask = places < some[:, None]
            size = len(some)
            window = Window(
                tokens[places.clamp(max=len(tokens) - 1)] * mask.unsqueeze(-1),
                mask,
                history.expand(size, -1, -1),
                history_mask.expand(size, -1),
                torch.full((size,), streamer),
            )
            predicted = model(window)
            scores.append((window.last(predicted) if model.every_position else predicted[:, 0]).float())
        return torch.cat(scores).numpy()

    def predict(self, model: Rival, rooms: Sequence[Room]) -> np.ndarray:
        """Predict the rows of some rooms (rows,)."""
        return self.task.rows(rooms, lambda room: self.predict_room(model, room))


def train_rival(build: Callable[[TokenSizes], Rival], data: RivalData, config: FitConfig) -> Trained:
    """Train with the optimizer, schedule, windows and early stopping of KuaiHL, and the loss of the rival."""
    torch.manual_seed(config.seed)
    model, windows = build(data.sizes), data.windows
    share = config.epoch_share[0] if config.epoch_share else 1.0
    drawn = math.ceil(share * len(windows))
    steps = -(-drawn // config.batch_size) * config.epochs
    optimizer, schedule = build_optimizer(config, model, steps=steps)
    best_tau, best_epoch, best_weights, epoch = -math.inf, 0, deepcopy(model.state_dict()), 0
    while epoch < config.epochs and epoch - best_epoch < max(config.patience, 1):
        windows.epoch = epoch
        order = np.random.default_rng((config.seed, epoch, 0)).permutation(len(windows))[:drawn].tolist()
        model.train()
        for start in range(0, drawn, config.batch_size):
            indices = order[start : start + config.batch_size]
            (batch,) = windows.__getitems__(indices)
            optimizer.zero_grad()
            model.loss(data.read(batch, indices), batch.label, batch.label_mask).backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            schedule.step()
        epoch += 1
        tau = data.task.validation_tau(data.predict(model.eval(), data.task.validation))
        logger.info("epoch %d: validation tau %.4f", epoch, tau)
        if tau > best_tau:
            best_tau, best_epoch, best_weights = tau, epoch, deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return Trained(model, best_tau, best_epoch, epoch)
